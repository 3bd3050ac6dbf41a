package front

import (
	"os/exec"
	"strings"
	"testing"

	"roomd/kv/resp"
)

const (
	noAuth    = "-NOAUTH Authentication required.\r\n"
	wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	syntax    = "-ERR syntax error\r\n"
)

func TestNothingIsDoneWithoutThePassword(t *testing.T) {
	addr := serve(t, memory(t), Config{Password: "secret"}).Addr()
	c := dial(t, addr)
	c.send("GET a", "PING", "MULTI", "SUBSCRIBE a", "CLIENT ID", "AUTH wrong", "AUTH default wrong", "AUTH other secret", "GET a")
	c.want(noAuth, noAuth, noAuth, noAuth, noAuth, wrongPass, wrongPass, wrongPass, noAuth)
	c.send("HELLO 3", "HELLO 3 AUTH default wrong", "HELLO")
	if got := c.reply(); !strings.HasPrefix(got, "-NOAUTH HELLO must be called") {
		t.Errorf("HELLO without AUTH: %q", got)
	}
	c.want(wrongPass)
	if got := c.reply(); !strings.HasPrefix(got, "-NOAUTH HELLO must be called") { // still of version 2
		t.Errorf("HELLO after it: %q", got)
	}
	c.send("AUTH secret", "GET a", "RESET", "GET a", "QUIT")
	c.want("+OK\r\n", "$-1\r\n", "+RESET\r\n", noAuth, "+OK\r\n")
	c.wantEnd()

	c = dial(t, addr)
	c.sendBytes(resp.AppendCommand(nil, "AUTH", strings.Repeat("x", 20_000)))
	c.want("-ERR Protocol error: unauthenticated bulk length\r\n")
	c = dial(t, addr)
	c.send("HELLO 3 AUTH default secret SETNAME me", "CLIENT GETNAME", "GET a")
	if got := c.reply(); !strings.HasPrefix(got, "%8\r\n$6\r\nserver\r\n$5\r\nredis\r\n") || !strings.HasSuffix(got, "$11\r\nserver_name\r\n$5\r\nroomd\r\n") {
		t.Errorf("HELLO: %q", got)
	}
	c.want("$2\r\nme\r\n", "_\r\n")
	c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 20_000)))
	c.want("+OK\r\n")
}

func TestUserHasANameIfOneIsSet(t *testing.T) {
	c := dial(t, serve(t, memory(t), Config{User: "app", Password: "secret"}).Addr())
	c.send("AUTH secret", "AUTH default secret", "AUTH app secret", "PING")
	c.want(wrongPass, wrongPass, "+OK\r\n", "+PONG\r\n")
}

func TestResetForgetsEverything(t *testing.T) {
	c := dial(t, serve(t, memory(t), Config{}).Addr())
	c.send("HELLO 3 SETNAME me")
	c.reply()
	c.send("SUBSCRIBE a", "WATCH w", "MULTI", "RESET", "EXEC", "CLIENT GETNAME", "PUBSUB NUMSUB a", "PING", "GET w", "PUBLISH a x")
	c.want(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "+OK\r\n", "+OK\r\n", "+RESET\r\n",
		"-ERR EXEC without MULTI\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n:0\r\n", "+PONG\r\n", "$-1\r\n", ":0\r\n")
}

func TestWhatLibrariesAskForIsThere(t *testing.T) {
	c := dial(t, serve(t, memory(t), Config{}).Addr())
	has := func(send string, words ...string) {
		t.Helper()
		c.send(send)
		got := c.reply()
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is without %q", send, got, w)
			}
		}
	}
	c.send("SET a 1", "HSET h f v")
	c.want("+OK\r\n", ":1\r\n")
	has("INFO", "$", "# Server\r\nredis_version:7.", "server_name:roomd\r\n", "loading:0", "role:master", "connected_clients:1\r\n", "db0:keys=2")
	has("INFO replication", "# Replication\r\nrole:master")
	has("CLIENT SETINFO LIB-NAME lib", "+OK")
	has("CLIENT SETINFO lib-ver 1.0", "+OK")
	has("CLIENT SETINFO x 1.0", "-ERR Unrecognized option 'x'")
	has("CLIENT SETNAME me", "+OK")
	has("CLIENT LIST", "name=me ", " lib-name=lib lib-ver=1.0 ", " resp=2 ")
	has("CLIENT INFO", "id=1 ", "flags=N")
	has("CLIENT TRACKING ON", "-ERR ")
	has("CLIENT REPLY OFF", "-ERR ")
	has("COMMAND COUNT", ":1")
	has("COMMAND", "$3\r\nget\r\n:2\r\n", "$4\r\nexec\r\n:1\r\n")
	has("COMMAND INFO get nosuch", "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n", "$-1\r\n")
	has("COMMAND DOCS get", "*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n")
	has("COMMAND LIST FILTERBY PATTERN hget*", "$4\r\nhget\r\n", "$7\r\nhgetall\r\n")
	has("COMMAND LIST FILTERBY MODULE x", syntax)
	has("CONFIG GET max* save", "maxmemory\r\n$1\r\n0\r\n", "save\r\n$0\r\n")
	has("CONFIG SET maxmemory 1", "-ERR ")
	has("CONFIG RESETSTAT", "+OK")
	has("HOLD k t 100", "-ERR unknown command 'HOLD'")
	has("UNHOLD k t", "-ERR unknown command 'UNHOLD'")
	c.send("HELLO 3")
	c.reply()
	has("INFO", "=", "\r\ntxt:# Server\r\n")
}

// The texts are those of Redis 7.0.
func TestUnknownCommandsAreQuotedUpTo128Bytes(t *testing.T) {
	a, b := strings.Repeat("a", 130), strings.Repeat("b", 60)
	c := dial(t, serve(t, memory(t), Config{}).Addr())
	for _, call := range []struct {
		argv         []string
		name, quoted string
	}{
		{[]string{""}, "", ""},
		{[]string{"NoSuch"}, "NoSuch", ""},
		{[]string{a}, a[:128], ""},
		{[]string{"nosuch", a, "x"}, "nosuch", "'" + a[:128] + "' "},
		{[]string{"nosuch", b, b, b}, "nosuch", "'" + b + "' '" + b + "' 'bb' "},
		{[]string{"nosuch", b, b + "cccc", "y", "z"}, "nosuch", "'" + b + "' '" + b + "cccc' "},
		{[]string{"nosuch", b, b, "z", "zz"}, "nosuch", "'" + b + "' '" + b + "' 'z' "},
		{[]string{"nosuch", "", "", b + b[:57], "z", "zz"}, "nosuch", "'' '' '" + b + b[:57] + "' 'z' "},
		{[]string{"nosuch", "a\r\nb"}, "nosuch", "'a  b' "},
	} {
		c.sendBytes(resp.AppendCommand(nil, call.argv...))
		c.want("-ERR unknown command '" + call.name + "', with args beginning with: " + call.quoted + "\r\n")
	}
}

func TestTransactionsTakeTheFrontsOwnCommandsToo(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, store, Config{}).Addr())
			c.send("HELLO 3")
			c.reply()
			c.send("MULTI", "CLIENT SETNAME me", "HSET h f v", "CLIENT GETNAME", "HGETALL h", "SUBSCRIBE a")
			c.want("+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "-ERR Command not allowed inside a transaction\r\n")
			c.send("EXEC", "EXISTS h")
			c.want("-EXECABORT Transaction discarded because of previous errors.\r\n", ":0\r\n")
			c.send("MULTI", "CLIENT SETNAME me", "HSET h f v", "CLIENT GETNAME", "HGETALL h", "EXEC")
			c.want("+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+QUEUED\r\n",
				"*4\r\n+OK\r\n:1\r\n$2\r\nme\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n")
			c.send("WATCH h", "HSET h f w", "MULTI", "CLIENT SETNAME you", "EXEC", "CLIENT GETNAME")
			c.want("+OK\r\n", ":0\r\n", "+OK\r\n", "+QUEUED\r\n", "_\r\n", "$2\r\nme\r\n")
			c.send("WATCH k", "SET k 1", "WATCH k", "MULTI", "GET k", "EXEC") // the first look counts
			c.want("+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n", "+QUEUED\r\n", "_\r\n")
		})
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	c := dial(t, serve(t, memory(t), Config{MaxCommand: 10_000}).Addr())
	c.send("MULTI")
	c.want("+OK\r\n")
	for range 2 {
		c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 4000)))
		c.want("+QUEUED\r\n")
	}
	c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 4000)))
	c.want("-ERR Transaction is too large\r\n")
	c.send("EXEC", "EXISTS a")
	c.want("-EXECABORT Transaction discarded because of previous errors.\r\n", ":0\r\n")
}

func TestRedisCLIWorks(t *testing.T) {
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("there is no redis-cli")
	}
	_, port, _ := strings.Cut(serve(t, memory(t), Config{Password: "secret"}).Addr().String(), ":")
	run := func(stdin, want string, args ...string) {
		t.Helper()
		cmd := exec.Command(path, append([]string{"-p", port, "--no-auth-warning", "-a", "secret"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%v: %v\ngot  %q\nwant %q", args, err, out, want)
		}
	}
	run("", "OK\n", "SET", "a", "1")
	run("", "2\n", "INCR", "a")
	run("HSET h f v g w\nHGETALL h\nMULTI\nGET a\nEXEC\n", "2\nf\nv\ng\nw\nOK\nQUEUED\n2\n")
	run("HGETALL h\n", "f v\ng w\n", "-3")
	run("", "h\n", "--scan", "--pattern", "h*")
	all := string(resp.AppendCommand(resp.AppendCommand(nil, "SET", "x", "1"), "INCR", "x"))
	run(all, "All data transferred. Waiting for the last reply...\nLast reply received from server.\nerrors: 0, replies: 2\n", "--pipe")
}
