package roomd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"roomd/bus"
)

// An adminError sets the admin port's errors apart from the clients'.
type adminError struct{ err error }

func (e adminError) Error() string { return "admin port: " + e.err.Error() }
func (e adminError) Unwrap() error { return e.err }

// listenAdmin takes the admin port before anything else starts, so that a
// second roomd on the machine fails before it touches data.
func listenAdmin(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, adminError{err}
	}
	return ln, nil
}

// explain turns the likeliest reasons for which a node does not start into a
// sentence that says what to do, and leaves all others as they are.
func explain(err error, cfg config) string {
	hint := ""
	var admin adminError
	isAdmin := errors.As(err, &admin)
	addrFlag, addr := "-addr", cfg.addr
	var redis redisError
	switch {
	case isAdmin:
		addrFlag, addr = "-admin", cfg.admin
	case errors.As(err, &redis):
		addrFlag, addr = "-redis", cfg.redis
	}
	var addrErr *net.AddrError
	var dnsErr *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = fmt.Sprintf("%s is taken, perhaps by another roomd; choose another address with %s", addr, addrFlag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = fmt.Sprintf("%s is not an address of this machine; see %s", addr, addrFlag)
	case errors.Is(err, bus.ErrDataLocked):
		hint = "another roomd uses it; end that one, or choose another directory with -data"
	case errors.Is(err, os.ErrPermission) && strings.Contains(err.Error(), "listen"):
		hint = fmt.Sprintf("this user may not listen on %s; ports below 1024 need rights", addr)
	case errors.Is(err, os.ErrPermission):
		hint = fmt.Sprintf("this user may not write to %s; choose another directory with -data, or run with -memory", cfg.data)
	case errors.Is(err, syscall.ENOSPC):
		hint = fmt.Sprintf("the disk that holds %s is full", cfg.data)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		hint = "too few file descriptors; raise the limit (ulimit -n), or lower -max-conns"
	case strings.Contains(err.Error(), "replicas > 1 not supported"):
		hint = fmt.Sprintf("the NATS server is alone; -replicas %d needs a cluster of so many", cfg.replicas)
	case errors.Is(err, bus.ErrNoJetStream):
		hint = "the NATS server runs without JetStream; start it with -js"
	case errors.As(err, &addrErr), errors.As(err, &dnsErr) && cfg.nats == "":
		hint = fmt.Sprintf("%s wants host:port, such as :8080 or 127.0.0.1:8080", addrFlag)
	case cfg.nats != "" && strings.Contains(err.Error(), "reach NATS"):
		hint = fmt.Sprintf("is a NATS server running at %s? roomd without -nats brings its own", cfg.nats)
	}
	text := err.Error()
	if hint != "" {
		text += "\n  " + hint
	}
	return withoutPasswords(text, cfg.nats)
}
