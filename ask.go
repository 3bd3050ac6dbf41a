package roomd

import (
	"context"
	"errors"
	"time"

	"roomd/bus"
)

// An asker asks processes, and may get several answers to one question.
type asker struct {
	conn    *bus.Conn
	inbox   string
	answers chan *bus.Msg
	sub     *bus.Subscription
}

// How long answers are waited for.
const (
	firstAnswer = time.Second            // from any process
	nextAnswer  = 300 * time.Millisecond // from another one
	oneAnswer   = 2 * time.Second        // from a process that is known to be there
	lateAnswer  = 50 * time.Millisecond  // then NATS is asked who listens, in case it can't say so by itself
	maxAnswers  = 4096
)

var (
	errNobody   = errors.New("nobody answers by that name")
	errNoAnswer = errors.New("it is there but does not answer")
)

func newAsker(conn *bus.Conn) (*asker, error) {
	a := &asker{conn: conn, inbox: conn.Subjects().Node(conn.Name()) + ".answers", answers: make(chan *bus.Msg, maxAnswers)}
	var err error
	if a.sub, err = conn.Subscribe(a.inbox+".*", "", a.answers); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *asker) close() {
	// An error means that the connection is closed, and the subscription with it.
	_ = a.sub.Unsubscribe()
}

// everyone returns all processes that answer.
func (a *asker) everyone(ctx context.Context) ([]processState, error) {
	var all []processState
	err := a.ask(ctx, stateSubject(a.conn.Subjects(), everyone), firstAnswer, func(p processState) (wait time.Duration) {
		all = append(all, p)
		return nextAnswer
	})
	if errors.Is(err, errNobody) || errors.Is(err, errNoAnswer) {
		return nil, nil
	}
	return all, err
}

// one returns the answer of the one process that listens to a subject.
func (a *asker) one(ctx context.Context, subject string) (p processState, err error) {
	err = a.ask(ctx, subject, oneAnswer, func(answer processState) time.Duration {
		p = answer
		return 0
	})
	return p, err
}

// ask puts a question and calls each with the answers; it says how long to wait
// for another one. Without any answer the error is errNobody or errNoAnswer.
func (a *asker) ask(ctx context.Context, subject string, wait time.Duration, each func(processState) time.Duration) error {
	inbox := a.inbox + "." + runToken() // answers to earlier questions may still come
	if err := a.conn.PublishReply(subject, inbox, nil); err != nil {
		return err
	}
	answered := false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	late := time.NewTimer(lateAnswer)
	defer late.Stop()
	found := make(chan bus.Listening, 1)
	for {
		select {
		case m := <-a.answers:
			if m.Subject != inbox {
				continue
			}
			if bus.NoResponders(m) {
				return errNobody
			}
			p, err := parseProcess(m.Data)
			if err != nil {
				a.conn.Foreign(subject)
				continue
			}
			answered = true
			if wait = each(p); wait == 0 {
				return nil
			}
			timer.Reset(wait)
		case <-late.C:
			a.conn.Listens(subject, func(l bus.Listening) { found <- l })
		case l := <-found:
			if !answered && l.Known && !l.There {
				return errNobody
			}
		case <-timer.C:
			if answered {
				return nil
			}
			return errNoAnswer
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
