package client

import "embed"

// JavaScript is the client for browsers and Node: roomd.js, the module that
// pages import, and the folder roomd with the modules that it imports. Serve all
// of them under one root, as http.FileServerFS(JavaScript) does.
//
//go:embed roomd.js roomd/frames.js roomd/room.js roomd/values.js
var JavaScript embed.FS
