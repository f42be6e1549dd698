// Compares the dumps of every_state.cc and every_state.go, goroutine by goroutine and line by line, and prints them side by side.
//
//	compare_states URL_OF_OURS URL_OF_GO
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// One goroutine of both programs: what follows "goroutine N " in our header, which is what the newest Go prints, and the state
// that this Go prints where it is another.
type row struct {
	name    string
	header  string
	goState string // "": the same
	why     string
}

// The states and the form of labels are those of Go 1.27.
var rows = []row{
	{"Spawner", "[chan receive] {name: Spawner}", "", ""},
	{"ChanReceive", `[chan receive] {name: ChanReceive, path: /orders/7, tenant: "K\u00e4se & Co"}`, "", ""},
	{"ChanReceiveLocked", "[chan receive, locked to thread] {name: ChanReceiveLocked}", "", ""},
	{"ChanReceiveNil", "[chan receive (nil chan)] {name: ChanReceiveNil}", "", ""},
	{"ChanSend", "[chan send] {name: ChanSend}", "", ""},
	{"ChanSendNil", "[chan send (nil chan)] {name: ChanSendNil}", "", ""},
	{"SelectTwo", "[select] {name: SelectTwo}", "", ""},
	{"SelectNil", "[select] {name: SelectNil}", "", ""},
	{"SelectNoCases", "[select (no cases)] {name: SelectNoCases}", "", ""},
	{"Sleep", "[sleep] {name: Sleep}", "", ""},
	{"IoWait", "[IO wait] {name: IoWait}", "", ""},
	{"Semacquire", "[semacquire] {name: Semacquire}", "", ""},
	{"WaitGroupWait", "[sync.WaitGroup.Wait] {name: WaitGroupWait}", "semacquire", "a reason of its own in newer Go"},
	{"MutexLock", "[sync.Mutex.Lock] {name: MutexLock}", "semacquire", "a reason of its own in newer Go"},
	{"RwMutexRLock", "[sync.RWMutex.RLock] {name: RwMutexRLock}", "semacquire", "a reason of its own in newer Go"},
	{"RwMutexLock", "[sync.RWMutex.Lock] {name: RwMutexLock}", "semacquire", "a reason of its own in newer Go"},
	{"CondWait", "[sync.Cond.Wait] {name: CondWait}", "", ""},
	{"Syscall", "[syscall] {name: Syscall}", "", ""},
	{"Runnable", "[runnable] {name: Runnable}", "", ""},
	{"Running", "[running] {name: Running}", "", "in Go it is the goroutine that answers the request"},
}

// How Go's function for a row is called where it is not the row's name with a small first letter.
var goNames = map[string]string{"Syscall": "syscallRead", "Running": "http.(*conn).serve"}

// What is the same for every goroutine but differs between the two programs:
//   - labels stand in the header since Go 1.27, and a fiber's name is one of them
//   - "in goroutine N" stands behind the creator since Go 1.21
//   - our creators are functions of namespace states
var (
	ourHeader = regexp.MustCompile(`^goroutine (\d+) (\[[^\]]+\] \{.*\}):$`)
	goHeader  = regexp.MustCompile(`^goroutine (\d+) \[([^\]]+)\](?: \{.*\})?:$`)
	ourName   = regexp.MustCompile(`\{name: (\w+)`)
	creator   = regexp.MustCompile(`^created by (\S+)(?: in goroutine (\d+))?$`)
	function  = regexp.MustCompile(`^\S.*\(.*\)$`)
	position  = regexp.MustCompile(`^\t\S.*:\d+(?: \+0x[0-9a-f]+)?$`)
)

const unavailable = "\tgoroutine running on other thread; stack unavailable"

type goroutine struct {
	id, header    string
	creator       string // "": nobody
	creatorID     string // "": not said
	lines         []string
	outermostLine string
}

// Of one comparison.
var (
	failures []string
	table    strings.Builder
)

func complain(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }

func fetch(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return fmt.Sprint("cannot be had: ", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Sprint("cannot be had: ", response.Status, err)
	}
	return string(text)
}

// The lines below a header: pairs of a function and its place, or that there is no stack, and then perhaps the creator.
func parse(whose string, header *regexp.Regexp, block string) (goroutine, bool) {
	lines := strings.Split(block, "\n")
	words := header.FindStringSubmatch(lines[0])
	if words == nil {
		complain("%s: not a header: %q", whose, lines[0])
		return goroutine{}, false
	}
	g := goroutine{id: words[1], header: words[2], lines: lines}
	rest := lines[1:]
	if len(rest) > 0 && rest[0] == unavailable {
		rest = rest[1:]
	}
	for len(rest) >= 2 && function.MatchString(rest[0]) && position.MatchString(rest[1]) {
		g.outermostLine = rest[0]
		rest = rest[2:]
	}
	if len(rest) == 2 && creator.MatchString(rest[0]) && position.MatchString(rest[1]) {
		words = creator.FindStringSubmatch(rest[0])
		g.creator, g.creatorID = words[1], words[2]
		rest = nil
	}
	if len(rest) != 0 {
		complain("%s: does not belong there: %q in\n%s", whose, rest[0], block)
	}
	return g, true
}

func blocks(whose string, text string) []string {
	if !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
		complain("%s: does not end in one newline", whose)
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n\n")
}

func parseOurs(text string) map[string]goroutine {
	found := map[string]goroutine{}
	for _, block := range blocks("ours", text) {
		g, ok := parse("ours", ourHeader, block)
		if !ok {
			continue
		}
		name := ourName.FindStringSubmatch(g.header)
		if name == nil || found[name[1]].id != "" {
			complain("ours: no name, or one that is there twice: %s", g.lines[0])
			continue
		}
		found[name[1]] = g
	}
	return found
}

// By the outermost function; a program's other goroutines have other ones.
func parseGo(text string) map[string]goroutine {
	found := map[string]goroutine{}
	for _, block := range blocks("Go", text) {
		if g, ok := parse("Go", goHeader, block); ok {
			name := strings.TrimPrefix(g.outermostLine, "net/")
			name = strings.TrimPrefix(name, "main.")
			name = name[:strings.LastIndex(name, "(")]
			if g.header == "running" || name != goNames["Running"] {
				found[name] = g
			}
		}
	}
	return found
}

func compareRow(r row, ours, theirs map[string]goroutine) {
	goName := strings.ToLower(r.name[:1]) + r.name[1:]
	if other, ok := goNames[r.name]; ok {
		goName = other
	}
	our, their := ours[r.name], theirs[goName]
	state := r.header[1:strings.Index(r.header, "]")]
	note := r.why
	switch {
	case our.header != r.header:
		complain("%s: our header is %q, want %q", r.name, our.header, r.header)
	case their.header == state:
	case r.goState != "" && their.header == r.goState:
	default:
		complain("%s: ours is %q, and Go's [%s] is no known difference", r.name, our.header, their.header)
	}
	// A fiber that runs has no stack in its dump, or has its function there.
	shown := strings.Contains(strings.Join(our.lines, "\n"), "\nstates::"+r.name+"(...)\n")
	if !shown && r.name != "Running" && r.name != "Runnable" {
		complain("%s: our stack does not show its function:\n%s", r.name, strings.Join(our.lines, "\n"))
	}
	compareCreators(r, our, their, ours, theirs)
	fmt.Fprintf(&table, "%-88s | %-34s | %s\n", our.header, "["+their.header+"]", note)
}

func compareCreators(r row, our, their goroutine, ours, theirs map[string]goroutine) {
	creator, creatorID, goCreator := "states::Spawner", ours["Spawner"].id, "main.spawner"
	switch r.name {
	case "Spawner": // by main(), which is no fiber, and a goroutine in Go
		creator, creatorID, goCreator = "main", "", "main.main"
	case "Runnable": // behind the fiber that computes
		creator, creatorID = "states::Running", ours["Running"].id
	case "Running":
		goCreator = "net/http.(*Server).Serve"
	}
	if our.creator != creator || our.creatorID != creatorID {
		complain("%s: ours is created by %q in goroutine %q, want %q in %q", r.name, our.creator, our.creatorID, creator, creatorID)
	}
	if their.creator != goCreator {
		complain("%s: Go's is created by %q, want %q", r.name, their.creator, goCreator)
	}
	if goCreator == "main.spawner" && their.creatorID != "" && their.creatorID != theirs["spawner"].id {
		complain("%s: Go's is created in goroutine %s, and spawner is %s", r.name, their.creatorID, theirs["spawner"].id)
	}
}

func compare(oursText, goText string) {
	failures = nil
	table.Reset()
	ours, theirs := parseOurs(oursText), parseGo(goText)
	for _, r := range rows {
		compareRow(r, ours, theirs)
	}
	if len(ours) != len(rows) {
		complain("ours has %d fibers, the table %d rows", len(ours), len(rows))
	}
}

func main() {
	// Go's program cannot tell when its goroutines are where they should be: so again, until they are, or for long enough.
	end := time.Now().Add(30 * time.Second)
	for {
		ours, theirs := fetch(os.Args[1]), fetch(os.Args[2])
		compare(ours, theirs)
		if len(failures) == 0 {
			fmt.Printf("%s%d states agree, or differ as they should\n", table.String(), len(rows))
			return
		}
		if time.Now().After(end) {
			fmt.Printf("\nours:\n%s\nGo:\n%s\nFAILED:\n%s\n", ours, theirs, strings.Join(failures, "\n"))
			os.Exit(1)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
