// Compares what `go tool trace` shows of a trace with what the traced program did (trace_views_sample.cc), view by view.
//
//	trace_views VERSION FORMAT FACTS ADDRESS
//
// VERSION of the tool: 1.19 or 1.23; FORMAT of the trace: go119, go122 or go123; ADDRESS of its viewer. Prints every difference.
package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

type span struct {
	Ended bool
	Least time.Duration `json:"least_ns"`
	Most  time.Duration `json:"most_ns"`
}

type wait struct {
	Fibers string
	Reason string
	Times  int
	Least  time.Duration `json:"least_ns"` // per fiber
}

type task struct {
	Type   string
	ID     uint64
	Parent uint64
	Logs   int
	span
}

type region struct {
	Type  string
	Fiber uint64
	Task  uint64
	span
}

type facts struct {
	Fibers  map[string][]uint64
	Waits   []wait
	Tasks   []task
	Regions []region
}

// Fibers to which nothing happens: the tools have no names for them.
const forgotten = "sample::Forgotten::operator()"

var (
	version, format, address string
	fact                     facts
	differences              int
)

func differs(where, what string, arguments ...interface{}) {
	differences++
	fmt.Printf("%s of %s in %s: %s\n", where, format, version, fmt.Sprintf(what, arguments...))
}

func equal(where, what string, got, want interface{}) {
	if !reflect.DeepEqual(got, want) {
		differs(where, "%s: %v, not %v", what, got, want)
	}
}

// The program's clock and the trace's differ by 10 us in a second at most (tick_clock.h); a time in a trace is one of 64 ns, moved on
// by some where several events have the same; and what is shown may be cut to whole units.
func within(where, what string, got, unit time.Duration, s span) {
	least := s.Least - s.Least/10000 - time.Microsecond - unit
	most := s.Most + s.Most/10000 + time.Microsecond
	if got < least || got > most {
		differs(where, "%s: %v, but it took %v to %v", what, got, s.Least, s.Most)
	}
}

func get(path string) string {
	response, err := http.Get(address + path)
	if err != nil {
		differs(path, "%v", err)
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		differs(path, "status %d, %v: %.500s", response.StatusCode, err, body)
	}
	return string(body)
}

func find(pattern, text string) [][]string {
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	for _, one := range found {
		for i := range one {
			one[i] = html.UnescapeString(one[i])
		}
	}
	return found
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		differs("a number", "%v", err)
	}
	return n
}

// And of what unit it is a whole number.
func duration(text string) (time.Duration, time.Duration) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		differs("a time", "%v", err)
	}
	unit := time.Nanosecond
	if old() {
		switch {
		case strings.HasSuffix(text, "µs"):
			unit = time.Microsecond
		case strings.HasSuffix(text, "ms"):
			unit = time.Millisecond
		case !strings.HasSuffix(text, "ns"):
			unit = time.Second
		}
	}
	return d, unit
}

func old() bool { return version == "1.19" }

// As the format spells it.
func spelt(reason string) string {
	if format == "go119" && strings.HasPrefix(reason, "sync (") {
		return "sync"
	}
	return reason
}

func timesOf(choose func(wait) bool) int {
	times := 0
	for _, w := range fact.Waits {
		if choose(w) {
			times += w.Times
		}
	}
	return times
}

func isSync(w wait) bool { return regexp.MustCompile("chan|sync|select").MatchString(w.Reason) }
func isCall(w wait) bool { return w.Reason == "syscall" }
func isIO(w wait) bool   { return w.Reason == "network" }
func isWait(w wait) bool { return w.Reason != "syscall" }

// Those that were spawned while the trace was taken.
func spawned() int {
	n := 0
	for name, ids := range fact.Fibers {
		if name != forgotten {
			n += len(ids)
		}
	}
	return n
}

func sorted(ids []uint64) []uint64 {
	s := append([]uint64{}, ids...)
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	return s
}

func main() {
	version, format, address = os.Args[1], os.Args[2], os.Args[4]
	text, err := os.ReadFile(os.Args[3])
	if err == nil {
		err = json.Unmarshal(text, &fact)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	checkPages()
	checkGoroutines()
	checkProfiles()
	checkTasks()
	checkRegions()
	checkTimeline()
	checkUtilization()
	if differences > 0 {
		os.Exit(1)
	}
}

func checkPages() {
	main := get("/")
	for _, link := range []string{"/trace", "/goroutines", "/io", "/block", "/syscall", "/sched", "/usertasks", "/userregions", "/mmu"} {
		if !strings.Contains(main, `href="`+link) {
			differs("/", "no link to %s", link)
		}
	}
	if !strings.Contains(get("/trace"), "/jsontrace") {
		differs("/trace", "does not load a timeline")
	}
}

// Of each group of fibers: by name, how a link asks for it.
func groups() map[string]string {
	asks := map[string]string{}
	counts := map[string]int{}
	page := get("/goroutines")
	if old() {
		for _, row := range find(`href="/goroutine\?id=(\d+)">(.*?)</a> N=(\d+)`, page) {
			asks[row[2]] = "id=" + row[1]
			counts[row[2]] += int(number(row[3]))
		}
	} else {
		for _, row := range find(`(?s)href="/goroutine\?name=([^"]*)">.*?</a></code></td>\s*<td>(\d+)</td>`, page) {
			name, err := url.QueryUnescape(row[1])
			if err != nil {
				differs("/goroutines", "%v", err)
			}
			asks[name] = "name=" + row[1]
			counts[name] += int(number(row[2]))
		}
	}
	want := map[string]int{}
	for name, ids := range fact.Fibers {
		if name == forgotten {
			name = ""
		}
		want[name] = len(ids)
	}
	equal("/goroutines", "fibers by entry function", counts, want)
	return asks
}

func checkGoroutines() {
	for name, ask := range groups() {
		path := "/goroutine?" + ask
		page := get(path)
		known := fact.Fibers[name]
		if name == "" {
			known = fact.Fibers[forgotten]
		}
		// What comes after this is a table of times that we do not have.
		if at := strings.Index(page, `id="ranges"`); !old() && at > 0 {
			page = page[:at]
		}
		var columns []string
		for _, header := range find(`<th class="link"[^>]*style=[^>]*>\s*(.*?)</th>`, page) {
			columns = append(columns, header[1])
		}
		if old() {
			columns = []string{"Execution time", "network", "sync", "syscall", "Sched wait time"}
		}
		var ids []uint64
		reasons := map[string]bool{}
		for _, row := range find(`(?s)href="/trace\?goid=\d+">(\d+)</a>(.*?)</tr>`, page) {
			ids = append(ids, number(row[1]))
			var total time.Duration
			var times []time.Duration
			for i, cell := range find(`<td>\s*([0-9][^<]*?)\s*(?:\([^<]*)?</td>`, row[2]) {
				d, unit := duration(cell[1])
				if i == 0 {
					total = d
				} else if i <= len(columns) {
					times = append(times, d+unit)
				}
			}
			if len(times) != len(columns) || total == 0 {
				differs(path, "fiber %s has %d times in %d columns, %v together", row[1], len(times), len(columns), total)
				continue
			}
			for _, w := range fact.Waits {
				if w.Fibers != name || (old() && !isCall(w)) {
					continue
				}
				var waited time.Duration
				for i, column := range columns {
					is := column == "Block time ("+spelt(w.Reason)+")" || (isCall(w) && strings.Contains(strings.ToLower(column), "syscall"))
					if is {
						waited += times[i]
					}
				}
				if waited < w.Least {
					differs(path, "fiber %s waited %v (%s), but it was %v at least", row[1], waited, w.Reason, w.Least)
				}
			}
			for i, column := range columns {
				if at := strings.Index(column, "("); strings.HasPrefix(column, "Block time") && times[i] > time.Nanosecond {
					reasons[column[at+1:len(column)-1]] = true
				}
			}
		}
		equal(path, "fibers", sorted(ids), sorted(known))
		want := map[string]bool{}
		for _, w := range fact.Waits {
			if w.Fibers == name {
				want[spelt(w.Reason)] = true
			}
		}
		if !old() && name != "" {
			equal(path, "reasons to wait", reasons, want)
		}
	}
}

// How many waits a profile has.
func contentions(path string) int {
	p, err := profile.ParseData([]byte(get(path)))
	if err != nil {
		// That is how one without samples looks.
		differs(path, "%v", err)
		return -1
	}
	n := 0
	for _, sample := range p.Sample {
		n += int(sample.Value[0])
		if sample.Value[1] <= 0 {
			differs(path, "%d waits of %d ns", sample.Value[0], sample.Value[1])
		}
	}
	return n
}

func checkProfiles() {
	kinds := []struct {
		path string
		is   func(wait) bool
	}{{"/io", isIO}, {"/block", isSync}, {"/syscall", isCall}}
	for _, kind := range kinds {
		equal(kind.path, "waits", contentions(kind.path+"?raw=1"), timesOf(kind.is))
		for name, ask := range groups() {
			want := timesOf(func(w wait) bool { return w.Fibers == name && kind.is(w) })
			if name == "" && !old() {
				continue // that asks for all
			}
			equal(kind.path, "waits of "+name, contentions(kind.path+"?raw=1&"+ask), want)
		}
	}
	// A fiber is seen to enter the queue by an event with a stack, which the creation of one has if another fiber spawned it.
	byFibers := len(fact.Fibers["sample::Ship::operator()"]) + len(fact.Fibers["sample::Child::operator()"])
	want := timesOf(isWait) + byFibers
	if !old() {
		// These see a fiber leave the queue when it waits again, or calls: after its last wait it does not. A child does not wait.
		want = len(fact.Fibers["sample::Ship::operator()"])
		for name, ids := range fact.Fibers {
			if waits := timesOf(func(w wait) bool { return w.Fibers == name && isWait(w) }); waits > 0 {
				want += waits - len(ids)
			}
		}
	}
	equal("/sched", "waits", contentions("/sched?raw=1"), want)
}

// Sum of a row's histogram.
func bars(row string) int {
	n := 0
	for _, bar := range find(`position:relative">(\d+)</div>`, row) {
		n += int(number(bar[1]))
	}
	return n
}

func checkTasks() {
	counts, complete := map[string]int{}, map[string]int{}
	for _, t := range fact.Tasks {
		counts[t.Type]++
		if t.Ended {
			complete[t.Type]++
		}
	}
	shown := map[string]int{}
	for _, row := range find(`(?s)<td>([^<]*)</td>\s*<td><a href="/usertask\?type=[^"]*">(\d+)</a></td>\s*<td>(.*?)\n\s*</tr>`, get("/usertasks")) {
		shown[row[1]] = int(number(row[2]))
		equal("/usertasks", row[1]+" that ended", bars(row[3]), complete[row[1]])
	}
	if !old() && format == "go119" {
		delete(shown, "") // the one that 1.23 makes up as the parent of those that have none
	}
	equal("/usertasks", "tasks by type", shown, counts)

	for name := range counts {
		path := "/usertask?type=" + url.QueryEscape(name)
		parts := strings.Split(get(path), `<tr class="first">`)
		equal(path, "tasks", len(parts)-1, counts[name])
		seen := map[uint64]string{}
		for _, part := range parts[1:] {
			seen[number(find(`focustask=(\d+)#`, part)[0][1])] = part
		}
		for _, t := range fact.Tasks {
			if t.Type != name {
				continue
			}
			part, found := seen[t.ID]
			if !found {
				differs(path, "task %d is not there", t.ID)
				continue
			}
			what := fmt.Sprintf("task %d", t.ID)
			equal(path, what+" has ended", strings.Contains(part, "(complete)"), t.Ended)
			if t.Ended {
				d, _ := time.ParseDuration(find(`class="elapsed">([^<]*)<`, part)[0][1])
				within(path, what, d, 0, t.span)
			}
			logs := `>(item=|amount=)`
			begin := fmt.Sprintf(`task %s \(id %d, parent %d\) created`, t.Type, t.ID, t.Parent)
			if !old() {
				logs = `>log `
				parent := t.Parent
				if parent == 0 {
					parent-- // how it shows that there is none
				}
				begin = fmt.Sprintf(`task &#34;%s&#34; \(D %d, parent %d\) begin`, t.Type, t.ID, parent)
				if format == "go119" {
					// Parents are children of one that is made up.
					begin = fmt.Sprintf(`task &#34;%s&#34; \(D %d, parent \d+\) begin`, t.Type, t.ID)
				}
			}
			equal(path, what+" logs", len(find(logs, part)), t.Logs)
			equal(path, what+" begins as a child of its parent", len(find(begin, part)), 1)
			if !old() {
				continue
			}
			// Its regions: of this version only these are exact.
			for _, r := range fact.Regions {
				if r.Task == t.ID && r.Ended {
					for _, one := range find("region "+r.Type+` started \(duration: ([^)]*)\)`, part) {
						d, _ := time.ParseDuration(one[1])
						within(path, what+", region "+r.Type, d, 0, r.span)
					}
				}
			}
		}
	}
	equal("/usertask?logtext=", "tasks that log a kettle", strings.Count(get("/usertask?logtext=kettle"), `<tr class="first">`), counts["order"])
}

func checkRegions() {
	counts := map[string]int{}
	for _, r := range fact.Regions {
		counts[r.Type]++
	}
	shown := map[string]int{}
	row := `(?s)<td>(?:<pre>)?"?([^"<]*?)"?<br>([^<]*)<br>[^<]*(?:</pre>)?</td>\s*<td><a href="/userregion\?[^"]*">(\d+)</a></td>`
	page := strings.ReplaceAll(get("/userregions"), "&#34;", `"`)
	for _, one := range find(row, page) {
		shown[one[1]] += int(number(one[3]))
		if !strings.Contains(one[2], "sample::") {
			differs("/userregions", "%s begins in %s", one[1], one[2])
		}
	}
	equal("/userregions", "regions by type", shown, counts)

	for name := range counts {
		path := "/userregion?type=" + url.QueryEscape(name)
		type key struct{ fiber, task uint64 }
		seen := map[key]string{}
		row := `(?s)href="/trace\?goid=\d+">(\d+)</a>\s*</td>\s*<td>\s*(?:<a href="/trace\?(?:focus)?task(?:id)?=\d+">(\d+)</a>)?\s*</td>\s*<td>([^<]*)</td>`
		for _, one := range find(row, get(path)) {
			task := uint64(0)
			if one[2] != "" {
				task = number(one[2])
			}
			seen[key{number(one[1]), task}] = strings.TrimSpace(one[3])
		}
		equal(path, "regions", len(seen), counts[name])
		for _, r := range fact.Regions {
			if r.Type != name {
				continue
			}
			text, found := seen[key{r.Fiber, r.Task}]
			if !found {
				differs(path, "that of fiber %d in task %d is not there", r.Fiber, r.Task)
			} else if r.Ended {
				d, unit := duration(text)
				within(path, fmt.Sprintf("fiber %d, task %d", r.Fiber, r.Task), d, unit, r.span)
			}
		}
	}
	// What happened within regions: an order's fiber sleeps in its own, a ship's waits for a channel.
	for kind, want := range map[string]int{"io": 0, "block": counts["ship"], "syscall": 0} {
		equal("/region"+kind, "waits of ships", contentions("/region"+kind+"?raw=1&type=ship"), want)
		equal("/region"+kind, "waits of cards", contentions("/region"+kind+"?raw=1&type=card"), 0)
	}
	contentions("/regionsched?raw=1&type=card")
}

type event struct {
	Name  string
	Phase string  `json:"ph"`
	Time  float64 `json:"ts"`
	Dur   float64 `json:"dur"`
	Group uint64  `json:"pid"`
	ID    uint64
}

func timeline(path string) []event {
	var all struct {
		TraceEvents []event
	}
	if err := json.Unmarshal([]byte(get(path)), &all); err != nil {
		differs(path, "%v", err)
	}
	return all.TraceEvents
}

// How many of a phase, by the events' names.
func count(events []event, phase string) map[string]int {
	n := map[string]int{}
	for _, e := range events {
		if e.Phase == phase {
			n[e.Name]++
		}
	}
	return n
}

func checkTimeline() {
	// By thread, as by processor the tool leaves out arrows that begin on processor 0.
	path := "/jsontrace?view=thread"
	events := timeline(path)
	arrows := map[string]int{"go": spawned()}
	for _, w := range fact.Waits {
		switch {
		case w.Times == 0:
		case isCall(w) && (old() || format == "go119"):
			arrows["sysexit"] += w.Times
		case isCall(w):
		case old():
			arrows["unblock"] += w.Times
		default:
			arrows["unblock ("+spelt(w.Reason)+")"] += w.Times
		}
	}
	if !old() {
		delete(arrows, "sysexit")
	}
	equal(path, "arrows", count(events, "s"), arrows)
	equal(path, "ends of arrows", count(events, "t"), arrows)

	// A slice for each time that a fiber ran: when it was spawned, after each wait, call, and yield.
	slices, calls := map[string]int{}, 0
	for _, e := range events {
		if e.Phase == "X" && e.Name == "syscall" {
			calls++
		} else if e.Phase == "X" {
			slices[strings.SplitN(e.Name, " ", 2)[0]]++
		}
	}
	runs, named := 0, 0
	for _, n := range slices {
		runs += n
	}
	for name, ids := range fact.Fibers {
		for _, id := range ids {
			if slices[fmt.Sprintf("G%d", id)] > 0 && count(events, "X")[fmt.Sprintf("G%d %s", id, name)] > 0 {
				named++
			}
		}
	}
	yields := len(fact.Fibers["sample::Child::operator()"])
	equal(path, "slices", runs, spawned()+timesOf(isWait)+timesOf(isCall)+yields)
	equal(path, "fibers that ran, by name", named, spawned())
	if !old() {
		equal(path, "slices of calls", calls, timesOf(isCall))
	}
	instants := count(events, "I")
	logs, network := 0, 0
	for name, n := range instants {
		if strings.HasPrefix(name, "[item] kettle") || strings.HasPrefix(name, "item=kettle") {
			logs += n
		}
		if name == "unblock (network)" {
			network += n
		}
	}
	equal(path, "kettles", logs, len(fact.Fibers["sample::Order::operator()"]))
	if old() {
		equal(path, "calls", instants["syscall"], timesOf(isCall))
	} else {
		equal(path, "network", network, timesOf(isIO))
	}
	plain := count(timeline("/jsontrace"), "X")
	equal("/jsontrace", "the same slices as by thread", plain, count(events, "X"))

	// One fiber; one task; one task's fibers.
	order := fact.Tasks[0]
	for _, t := range fact.Tasks {
		if t.Type == "order" {
			order = t
		}
	}
	fiber := uint64(0)
	for _, r := range fact.Regions {
		if r.Task == order.ID && r.Type == "pay" {
			fiber = r.Fiber
		}
	}
	path = fmt.Sprintf("/jsontrace?goid=%d", fiber)
	if name := fmt.Sprintf("G%d sample::Order::operator()", fiber); count(timeline(path), "X")[name] == 0 {
		differs(path, "no slice of %s", name)
	}
	path = fmt.Sprintf("/jsontrace?focustask=%d", order.ID)
	equal(path, "slices of the task", count(timeline(path), "X")["order"], 1)
	for _, e := range timeline(path) {
		if e.Phase == "X" && e.Name == "order" {
			within(path, "the task", time.Duration(e.Dur*1000), 0, order.span)
		}
	}
	path = fmt.Sprintf("/jsontrace?taskid=%d", order.ID)
	regions := map[string]int{}
	for _, r := range fact.Regions {
		if r.Task == order.ID {
			regions[r.Type]++
		}
	}
	for name, n := range regions {
		equal(path, "region "+name, count(timeline(path), "b")[name], n)
	}
}

// Nothing collects garbage: all time is the program's.
func checkUtilization() {
	get("/mmu")
	plot, details := "/mmu?mode=plot&flags=stw", "/mmu?mode=details&window=1000000&flags=stw"
	if old() {
		plot, details = "/mmuPlot?flags=stw", "/mmuDetails?window=1000000&flags=stw"
	} else if format == "go119" {
		return // 1.23 cannot plot traces of the older format
	}
	var curve struct {
		Max   int64 `json:"xMax"`
		Curve [][]float64
	}
	if err := json.Unmarshal([]byte(get(plot)), &curve); err != nil || len(curve.Curve) == 0 || curve.Max <= 0 {
		differs(plot, "%d points until %d ns: %v", len(curve.Curve), curve.Max, err)
	}
	for _, point := range curve.Curve {
		// The tools end a trace with an instant without utilization.
		if window := time.Duration(point[0]); window >= time.Microsecond && point[1] < 0.999999 {
			differs(plot, "%v of the time in windows of %v ns", point[1], point[0])
			break
		}
	}
	get(details)
}
