package roomd

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// arrows says which packages of ours each package may import: those below it
// (doc.go of bus has the lowest). Nobody imports cmd or loadtest.
var arrows = map[string][]string{
	"bus":         {},
	"kv":          {"bus"},
	"kv/resp":     {},
	"kv/engine":   {"kv/resp"},
	"kv/front":    {"bus", "kv", "kv/engine", "kv/resp"},
	"rooms/patch": {},
	"rooms":       {"bus", "kv", "rooms/patch"},
	"edge":        {"bus", "kv", "rooms/patch"},
	"client":      {"rooms/patch"},
	"":            {"bus", "kv", "kv/front", "rooms", "edge", "client"},
	"cmd/roomd":   {"", "rooms", "rooms/patch"},
	"loadtest":    {"client", "kv/resp"},
}

// foreign says who may name a library that others see only through a package
// of ours.
var foreign = map[string][]string{
	"github.com/nats-io/nats.go":        {"bus", "kv", "loadtest/cluster"},
	"github.com/nats-io/nats-server/v2": {"bus"},
	"github.com/gobwas/ws":              {"edge", "client", "loadtest"},
}

func TestImportsFollowTheDesign(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		// Tests may wire what the code must not.
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			pkg = ""
		}
		seen[pkg] = true
		return checkImports(t, pkg, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"bus", "kv", "rooms", "edge", "client", ""} {
		if !seen[pkg] {
			t.Errorf("package %q was not looked at", pkg)
		}
	}
}

func checkImports(t *testing.T, pkg, path string) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, imp := range file.Imports {
		name, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return err
		}
		at := files.Position(imp.Pos())
		if ours, ok := strings.CutPrefix(name, "roomd"); ok && (ours == "" || ours[0] == '/') {
			if !mayImport(pkg, strings.TrimPrefix(ours, "/")) {
				t.Errorf("%s: %q must not import %q", at, pkg, name)
			}
		}
		for lib, users := range foreign {
			if (name == lib || strings.HasPrefix(name, lib+"/")) && !within(pkg, users) {
				t.Errorf("%s: only %v may name %s", at, users, lib)
			}
		}
	}
	return nil
}

// mayImport lets a package import its own subpackages beside what arrows says.
func mayImport(pkg, imported string) bool {
	if pkg != "" && strings.HasPrefix(imported, pkg+"/") {
		return true
	}
	for _, ok := range arrows[owner(pkg)] {
		if imported == ok {
			return true
		}
	}
	return pkg != "" && strings.HasPrefix(imported, strings.SplitN(pkg, "/", 2)[0]+"/") && owner(pkg) == owner(imported)
}

// owner is the longest prefix of pkg that arrows knows: a subpackage follows
// the rules of its parent unless it has its own.
func owner(pkg string) string {
	for {
		if _, ok := arrows[pkg]; ok || pkg == "" {
			return pkg
		}
		pkg = pkg[:max(strings.LastIndexByte(pkg, '/'), 0)]
	}
}

func within(pkg string, users []string) bool {
	for _, u := range users {
		if pkg == u || strings.HasPrefix(pkg, u+"/") {
			return true
		}
	}
	return false
}
