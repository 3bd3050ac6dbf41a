package main

import (
	"embed"
	"io/fs"
)

//go:embed web
var web embed.FS

// pages are the files that browsers get.
func pages() fs.FS {
	sub, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}
