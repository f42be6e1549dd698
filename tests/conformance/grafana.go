// Judges what is given to Grafana and Prometheus (server/grafana) by a Prometheus that scrapes a live demo: the dashboard has the
// form that Grafana imports, each of its queries has data, each alert can be told, and those fire that the demo gives reason for.
// Questions are repeated until the answer is there, which takes as long as some scrapes do.
//
//	grafana DASHBOARD.JSON GO_DASHBOARDS.TXT PROMETHEUS DEMO
//
// PROMETHEUS and DEMO are addresses; the latter is the instance that Prometheus scrapes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const patience = 200 * time.Second

type datasource struct{ Type, UID string }

type target struct{ RefID, Expr string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct {
		Defaults struct{ Links []struct{ URL string } }
	}
	Targets []target
}

type variable struct {
	Name, Type, Definition string
	Query                  struct{ Query string }
	Multi, IncludeAll      bool
	Datasource             *datasource
}

type dashboard struct {
	Inputs []struct{ Name, Type, PluginID string } `json:"__inputs"`
	UID    string
	// Of the format; Grafana converts older ones.
	SchemaVersion int
	Templating    struct{ List []variable }
	Annotations   struct {
		List []struct {
			Name, Expr string
			Datasource *datasource
		}
	}
	Panels []panel
}

var rows = []string{"Overview", "Fibers", "Scheduler", "Waits and locks", "Memory", "Process", "Debug server itself"}

func check(ok bool, format string, values ...any) {
	if !ok {
		log.Fatalf("FAIL: "+format, values...)
	}
}

func (d dashboard) checkForm() {
	check(d.UID != "" && d.SchemaVersion >= 38, "uid %q, schemaVersion %d", d.UID, d.SchemaVersion)
	check(len(d.Inputs) == 1 && d.Inputs[0].Name == "DS_PROMETHEUS" && d.Inputs[0].PluginID == "prometheus", "__inputs: %v", d.Inputs)
	imported := func(s *datasource) bool { return s != nil && s.Type == "prometheus" && s.UID == "${DS_PROMETHEUS}" }
	check(len(d.Templating.List) == 2, "variables: %v", d.Templating.List)
	for i, name := range []string{"job", "instance"} {
		v := d.Templating.List[i]
		check(v.Name == name && v.Type == "query" && v.Multi && v.IncludeAll && imported(v.Datasource), "variable: %+v", v)
		check(v.Query.Query == v.Definition, "variable %s: its definition is not its query", name)
	}
	for _, a := range d.Annotations.List {
		check(imported(a.Datasource), "annotation %s: datasource", a.Name)
	}
	var titles []string
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		check(p.ID > 0 && !ids[p.ID], "panel %q: id %d is not its own", p.Title, p.ID)
		ids[p.ID] = true
		at := p.GridPos
		check(at.X >= 0 && at.W > 0 && at.H > 0 && at.X+at.W <= 24, "panel %q: place %+v", p.Title, at)
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				check(taken[[2]int{x, y}] == "", "panels %q and %q overlap", p.Title, taken[[2]int{x, y}])
				taken[[2]int{x, y}] = p.Title
			}
		}
		switch p.Type {
		case "row":
			titles = append(titles, p.Title)
			continue
		case "timeseries", "stat", "heatmap", "table":
		default:
			check(false, "panel %q: type %q", p.Title, p.Type)
		}
		check(len(p.Description) > 40, "panel %q: the description says too little: %q", p.Title, p.Description)
		check(imported(p.Datasource), "panel %q: datasource", p.Title)
		check(len(p.Targets) > 0, "panel %q asks nothing", p.Title)
		refs := map[string]bool{}
		for _, t := range p.Targets {
			check(t.RefID != "" && !refs[t.RefID], "panel %q: refId %q is not its own", p.Title, t.RefID)
			refs[t.RefID] = true
			check(strings.Contains(t.Expr, `job=~"$job", instance=~"$instance"`), "panel %q: %s ignores the variables", p.Title, t.Expr)
			linked := len(p.FieldConfig.Defaults.Links) > 0
			check(!linked || strings.Contains(t.Expr, "by (instance"), "panel %q links to a process that %s does not know", p.Title, t.Expr)
		}
	}
	for place := range taken {
		check(place[0] == 0 || taken[[2]int{place[0] - 1, place[1]}] != "", "panel %q has nothing on its left", taken[place])
	}
	check(strings.Join(titles, "|") == strings.Join(rows, "|"), "rows: %q", titles)
}

var (
	quoted     = regexp.MustCompile(`"([^"\\]|\\.)*"`)
	metricName = regexp.MustCompile(`\b(fiber|go|process)_[a-z_]+`)
	sampleName = regexp.MustCompile(`(?m)^[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

type prometheus struct {
	url      string
	deadline time.Time
	poll     *time.Ticker
}

func (p prometheus) get(path string, parameters url.Values, data any) error {
	response, err := http.Get(p.url + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %v", response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

func (p prometheus) mustGet(path string, parameters url.Values, data any) {
	err := p.get(path, parameters, data)
	check(err == nil, "%s %v: %v", path, parameters, err)
}

// The values that the query has now; those of series as they come.
func (p prometheus) ask(query string) []float64 {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	p.mustGet("/api/v1/query", url.Values{"query": {query}}, &data)
	check(data.ResultType == "vector", "%s is a %s", query, data.ResultType)
	var series []struct{ Value [2]any }
	check(json.Unmarshal(data.Result, &series) == nil, "%s: %s", query, data.Result)
	var values []float64
	for _, s := range series {
		value, err := strconv.ParseFloat(s.Value[1].(string), 64)
		check(err == nil, "%s: %v", query, s.Value)
		values = append(values, value)
	}
	return values
}

func numbers(values []float64) (result []float64) {
	for _, v := range values {
		if !math.IsNaN(v) {
			result = append(result, v)
		}
	}
	return result
}

// Until done() has nothing left to say.
func (p prometheus) await(missing func() []string) {
	for {
		left := missing()
		if len(left) == 0 {
			return
		}
		check(time.Now().Before(p.deadline), "no data after %v:\n  %s", patience, strings.Join(left, "\n  "))
		<-p.poll.C
	}
}

type question struct{ where, query string }

// Until each has a number for an answer.
func (p prometheus) awaitData(questions []question) {
	pending := questions
	p.await(func() []string {
		var left []question
		var texts []string
		for _, q := range pending {
			if values := numbers(p.ask(q.query)); len(values) > 0 {
				fmt.Printf("%-40s %3d series, the first one %g\n", q.where, len(values), values[0])
			} else {
				left = append(left, q)
				texts = append(texts, q.where+": "+q.query)
			}
		}
		pending = left
		return texts
	})
}

// Every metric of the queries is on the page: one that is not may hide behind others in a sum.
func checkNames(demo string, questions []question) {
	response, err := http.Get("http://" + demo + "/metrics")
	check(err == nil, "%v", err)
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	check(err == nil, "%v", err)
	served := map[string]bool{}
	for _, name := range sampleName.FindAllString(string(page), -1) {
		served[name] = true
	}
	for _, q := range questions {
		for _, name := range metricName.FindAllString(quoted.ReplaceAllString(q.query, `""`), -1) {
			check(served[name], "%s: /metrics has no %s", q.where, name)
		}
	}
}

// A comparison as a value, so that there is one as soon as there is something to compare.
func withoutThreshold(query string) string {
	return strings.NewReplacer(" > ", " > bool ", " != ", " != bool ").Replace(query)
}

type rule struct {
	Name, Query         string
	Duration            float64
	Labels, Annotations map[string]string
}

func (p prometheus) rules() (rules []rule) {
	var data struct{ Groups []struct{ Rules []rule } }
	p.mustGet("/api/v1/rules", url.Values{"type": {"alert"}}, &data)
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

type alert struct {
	Labels, Annotations map[string]string
	State               string
}

func (p prometheus) firing() map[string]alert {
	var data struct{ Alerts []alert }
	p.mustGet("/api/v1/alerts", nil, &data)
	result := map[string]alert{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			result[strings.TrimSpace(a.Labels["alertname"]+" "+a.Labels["reason"]+a.Labels["kind"])] = a
		}
	}
	return result
}

func main() {
	log.SetFlags(0)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		check(err == nil, "%v", err)
		return string(text)
	}
	var board dashboard
	err := json.Unmarshal([]byte(read(os.Args[1])), &board)
	check(err == nil, "%s: %v", os.Args[1], err)
	board.checkForm()
	server := prometheus{"http://" + os.Args[3], time.Now().Add(patience), time.NewTicker(200 * time.Millisecond)}
	instance := os.Args[4]

	// What Grafana does with "All". The interval it has for a scrape a second is 4 s; on a busy machine so many scrapes may be late,
	// which is not what is asked about here.
	all := "(" + strings.ReplaceAll(instance, ".", `\\.`) + ")"
	substitute := strings.NewReplacer(`$job`, `(fiberscope)`, `$instance`, all, `$__rate_interval`, `10s`)

	fmt.Println("== variables")
	labelValues := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	server.await(func() (missing []string) {
		for i, want := range []string{"fiberscope", instance} {
			v := board.Templating.List[i]
			parts := labelValues.FindStringSubmatch(v.Definition)
			check(parts != nil, "variable %s: %s", v.Name, v.Definition)
			var values []string
			server.mustGet("/api/v1/label/"+parts[2]+"/values", url.Values{"match[]": {substitute.Replace(parts[1])}}, &values)
			if len(values) != 1 || values[0] != want {
				missing = append(missing, fmt.Sprintf("variable %s: want %s, got %v", v.Name, want, values))
			}
		}
		return missing
	})

	fmt.Println("== panels")
	var questions []question
	add := func(where, query string) { questions = append(questions, question{where, substitute.Replace(query)}) }
	for _, a := range board.Annotations.List {
		add("annotation "+a.Name, withoutThreshold(a.Expr))
	}
	for _, p := range board.Panels {
		for _, t := range p.Targets {
			add(p.Title+" "+t.RefID, t.Expr)
		}
	}
	server.awaitData(questions)
	checkNames(instance, questions)

	fmt.Println("== stock dashboards for Go")
	for _, line := range strings.Split(read(os.Args[2]), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		query := strings.Join(fields[2:], " ")
		values := server.ask(query)
		fmt.Println(fields[0], query, values)
		check(fields[0] == "served" || fields[0] == "absent", "%s", line)
		check((len(values) > 0) == (fields[0] == "served"), "%s: %v", line, values)
	}

	fmt.Println("== alerts")
	questions = nil
	for _, r := range server.rules() {
		check(r.Duration > 0, "alert %s fires at once", r.Name)
		check(regexp.MustCompile(`^(critical|warning|info)$`).MatchString(r.Labels["severity"]), "alert %s: severity", r.Name)
		check(strings.Contains(r.Annotations["summary"], "$labels.instance"), "alert %s does not say where", r.Name)
		whereToLook := regexp.MustCompile(`/debug/pprof|/metrics`)
		check(whereToLook.MatchString(r.Annotations["description"]), "alert %s does not say where to look", r.Name)
		add("alert "+r.Name, withoutThreshold(r.Query))
	}
	check(len(questions) > 0, "there are no alerts")
	server.awaitData(questions)
	checkNames(instance, questions)

	var firing map[string]alert
	server.await(func() (missing []string) {
		firing = server.firing()
		for _, name := range []string{"FiberLeak channel send", "FiberWaitsTooLong channel send", "FiberStalls blocked"} {
			if _, ok := firing[name]; !ok {
				missing = append(missing, fmt.Sprintf("%s does not fire; others do: %v", name, firing))
			}
		}
		return missing
	})
	for name, a := range firing {
		fmt.Printf("fires: %s: %s\n  %s\n", name, a.Annotations["summary"], a.Annotations["description"])
		for _, unfounded := range []string{"FiberWaitsForEver", "FiberMetricsRejected", "FiberWorkersFail", "ProcessFilesScarce"} {
			check(!strings.HasPrefix(name, unfounded), "%s fires without a reason", name)
		}
	}
}
