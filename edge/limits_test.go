package edge

import (
	"strings"
	"testing"
	"time"

	"roomd/bus"
)

func TestBudgetGivesTheRateAndTheBurst(t *testing.T) {
	cfg := Config{CommandsPerSecond: 100, CommandBurst: 50, AbuseLimit: 300}
	b := budget{tokens: 50}
	takeAll := func(ms uint32) (taken int) {
		for range 1000 {
			if b.take(&cfg, ms) {
				taken++
			}
		}
		return taken
	}
	if got := takeAll(0); got != 50 {
		t.Errorf("at once: %d frames, want the burst of 50", got)
	}
	if got := takeAll(50); got != 0 {
		t.Errorf("5 tokens later: %d frames, want none before a tenth of a second's are back", got)
	}
	if got := takeAll(200); got != 20 {
		t.Errorf("after 200 ms: %d frames, want 20", got)
	}
	if got := takeAll(60_000); got != 50 {
		t.Errorf("after a minute: %d frames, want the burst of 50", got)
	}
	for range 300 {
		if b.abuse(&cfg) {
			t.Fatal("abuse within the limit")
		}
	}
	if !b.abuse(&cfg) {
		t.Error("301 refused frames are no abuse, want the limit of 300 to hold")
	}
	b.fill(&cfg, 61_500)
	if b.abuse(&cfg) {
		t.Error("still abuse after 1.5 s, want 150 refused frames forgiven")
	}
}

func TestResumeTokenIsGoodUntilItsTimeAndForItsSecretOnly(t *testing.T) {
	secret := []byte("0123456789abcdef")
	now := time.Unix(1_800_000_000, 0)
	tokens := newTokens(secret, time.Hour)
	token := tokens.issue(42, "Ann é", now)
	if id, user, ok := tokens.check([]byte(token), now.Add(time.Hour)); !ok || id != 42 || user != "Ann é" {
		t.Errorf("within the hour: %d %q %t", id, user, ok)
	}
	if _, _, ok := tokens.check([]byte(token), now.Add(time.Hour+time.Second)); ok {
		t.Error("good after its time")
	}
	if _, _, ok := newTokens([]byte("another secret.."), time.Hour).check([]byte(token), now); ok {
		t.Error("good for another secret")
	}
	for i := range token {
		bad := []byte(token)
		bad[i] ^= 1
		if _, _, ok := tokens.check(bad, now); ok {
			t.Fatalf("good with byte %d changed", i)
		}
	}
	for _, bad := range []string{"", "x", token[:20], token + "A", strings.Repeat("A", 10_000)} {
		if _, _, ok := tokens.check([]byte(bad), now); ok {
			t.Errorf("%.20q is good", bad)
		}
	}
	longest := tokens.issue(1, strings.Repeat("u", bus.MaxUser), now)
	if _, user, ok := tokens.check([]byte(longest), now); !ok || len(user) != bus.MaxUser {
		t.Error("the longest user's token is refused")
	}
}

func TestConfigMistakesAreNamed(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Secret":      {Secret: []byte("short")},
		"SessionTTL":  {SessionTTL: -1},
		"MaxInFlight": {MaxInFlight: -1},
	} {
		cfg, err := cfg.withSessionDefaults()
		if err == nil {
			_, err = cfg.withDefaults()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want it named", want, err)
		}
	}
}
