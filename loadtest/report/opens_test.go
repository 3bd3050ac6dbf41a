package report

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func opens(answers ...string) *Opens {
	o := NewOpens("opens", "echo", 3, 2, 3)
	for i, code := range answers {
		o.Answer(0, code, time.Duration(i+1)*time.Millisecond, time.Second)
	}
	o.Finish()
	return o
}

func TestOpensVerdictForgivesOverloadedAlone(t *testing.T) {
	for name, c := range map[string]struct {
		o    *Opens
		want string
	}{
		"all in":     {opens("", ""), ""},
		"overloaded": {opens("", "overloaded"), ""},
		"others":     {opens("timeout", "unavailable", "overloaded", ""), "The server broke its promise: 2 joins failed otherwise than by overloaded."},
	} {
		if got := c.o.Verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOpensIsShownInAllForms(t *testing.T) {
	o := opens("", "", "overloaded", "unavailable")
	o.Answer(1, "", time.Millisecond, 3*time.Second)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"table": func(b *bytes.Buffer) error { return o.Table(b) },
		"page":  func(b *bytes.Buffer) error { return o.HTML(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"refused at the first ask, overloaded", "refused at the first ask, unavailable", "3 NATS servers", "3.0 s", "1 joins failed"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("the %s has no %q:\n%s", name, want, b.String())
			}
		}
	}
	var b bytes.Buffer
	if err := o.JSON(&b); err != nil || !strings.Contains(b.String(), `"joined_at_first": 2`) {
		t.Errorf("JSON %s, %v", b.String(), err)
	}
}
