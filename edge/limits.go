package edge

import (
	"crypto/rand"
	"fmt"
	"time"
)

// withSessionDefaults is withDefaults for the fields of the session half.
func (cfg Config) withSessionDefaults() (Config, error) {
	for name, d := range map[string]time.Duration{
		"SessionTTL": cfg.SessionTTL, "HelloTimeout": cfg.HelloTimeout, "CommandTimeout": cfg.CommandTimeout,
	} {
		if d < 0 {
			return cfg, fmt.Errorf("edge config: %s is %v, must not be negative", name, d)
		}
	}
	setDefault(&cfg.SessionTTL, 24*time.Hour)
	setDefault(&cfg.HelloTimeout, 10*time.Second)
	setDefault(&cfg.CommandTimeout, 10*time.Second)
	setDefault(&cfg.MaxRooms, 32)
	setDefault(&cfg.MaxInFlight, 64)
	setDefault(&cfg.CommandsPerSecond, 200)
	setDefault(&cfg.CommandBurst, 400)
	setDefault(&cfg.AbuseLimit, 20_000)
	setDefault(&cfg.MaxOpens, 64)
	setDefault(&cfg.MaxOpenQueue, 16<<10)
	setDefault(&cfg.EnvelopeQueue, 32<<10)
	if cfg.Secret == nil {
		cfg.Secret = make([]byte, 32)
		rand.Read(cfg.Secret) // never fails since Go 1.24
	}
	if len(cfg.Secret) < minSecret {
		return cfg, fmt.Errorf("edge config: Secret has %d bytes, want %d at least", len(cfg.Secret), minSecret)
	}
	return cfg, nil
}

const (
	minSecret   = 16
	forgiven    = 100 // refused frames that a second takes off the count of AbuseLimit
	limitedBack = 0.1 // part of a second's commands that must have come in again before a limited conn goes on
)

// A budget is what a conn may still ask: a token bucket, and beside it the
// count of what was refused. It is 16 bytes and has no timer.
type budget struct {
	tokens  float32 // frames that may be taken now
	refused float32 // frames refused lately
	at      uint32  // loop's milliseconds of both
	limited bool    // refusing: on until some tokens are back
}

func (b *budget) fill(cfg *Config, ms uint32) {
	seconds := float32(ms-b.at) / 1000
	b.at = ms
	b.tokens = min(float32(cfg.CommandBurst), b.tokens+seconds*float32(cfg.CommandsPerSecond))
	b.refused = max(0, b.refused-seconds*forgiven)
}

// take takes one token. Who has run out of them gets none until a tenth of a
// second's are there again: so a burst is refused from some frame on, and not
// here and there, which would tear holes in a row of commands.
func (b *budget) take(cfg *Config, ms uint32) bool {
	b.fill(cfg, ms)
	if b.limited && b.tokens < min(limitedBack*float32(cfg.CommandsPerSecond), float32(cfg.CommandBurst)) {
		return false
	}
	if b.tokens < 1 {
		b.limited = true
		return false
	}
	b.limited = false
	b.tokens--
	return true
}

// abuse counts a refused frame and reports whether it was one too many.
func (b *budget) abuse(cfg *Config) bool {
	b.refused++
	return b.refused > float32(cfg.AbuseLimit)
}
