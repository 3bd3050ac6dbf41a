package chaos

// What was held against the rules how often, by the names of the package's comment:
// a run that has checked nothing has shown nothing.
const (
	CheckAcked    = "acked"
	CheckOrder    = "order"
	CheckOnce     = "once"
	CheckHeard    = "heard"
	CheckAgreed   = "agreed"
	CheckPresence = "presence"
	CheckRegister = "registers"
	CheckSockets  = "sockets"
	CheckLeaks    = "leaks"
	CheckCrashes  = "crashes"
)

// checked adds to how often something was checked.
func (res *Result) checked(name string, n int) {
	if res.Checks == nil {
		res.Checks = make(map[string]int)
	}
	res.Checks[name] += n
}

// countChecks counts what the check of a room looks at: acked adds and those of
// unknown fate, broadcasts, members' lists, and commands of registers.
func (res *Result) countChecks(room *Room, d Durability) {
	if room.Unread != "" {
		return // then that is the violation, and nothing else is looked at
	}
	res.checked(CheckOnce, len(room.Final))
	for _, r := range room.Records {
		for i := range r.Ops {
			switch op := &r.Ops[i]; {
			case op.Event == "add" && op.Fate == Acked:
				res.checked(CheckAcked, 1)
				res.checked(CheckOrder, 1)
			case op.Event != "add" && d.Strict:
				res.checked(CheckRegister, 1)
			}
		}
		for i := range r.Heard {
			switch r.Heard[i].What {
			case HeardAdded:
				res.checked(CheckHeard, 1)
				res.checked(CheckAgreed, 1)
			case HeardPresence:
				res.checked(CheckHeard, 1)
			}
		}
		res.checked(CheckPresence, len(r.Members))
		res.checked(CheckSockets, 1)
	}
}
