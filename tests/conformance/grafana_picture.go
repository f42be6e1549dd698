// Draws the panels of the dashboard as far as that goes without Grafana: the answers to every query in the last SECONDS, and the
// last value of each series. To look at; grafana.go judges.
//
//	go run tests/conformance/grafana_picture.go DASHBOARD.JSON PROMETHEUS INSTANCE SECONDS >panels.svg
package main

import (
	"encoding/json"
	"fmt"
	"html"
	"log"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

type target struct{ RefID, Expr, LegendFormat string }

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit   string
			Custom struct{ ScaleDistribution struct{ Type string } }
		}
	}
	Targets []target
}

type series struct {
	Metric map[string]string
	Values [][2]any
	name   string
}

func (s series) value(i int) float64 {
	v, err := strconv.ParseFloat(s.Values[i][1].(string), 64)
	if err != nil {
		log.Fatal(err)
	}
	return v
}
func (s series) last() float64 { return s.value(len(s.Values) - 1) }

const (
	column, line = 60, 30 // pixels of Grafana's grid
	shownSeries  = 6
	steps        = 60
)

var colors = []string{"#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0"}

// The range that is shown.
var begin, end float64

func ask(prometheus, query string) (result []series) {
	step := (end - begin) / steps
	parameters := url.Values{"query": {query}, "start": {fmt.Sprint(begin)}, "end": {fmt.Sprint(end)}, "step": {fmt.Sprint(step)}}
	response, err := http.Get("http://" + prometheus + "/api/v1/query_range?" + parameters.Encode())
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Data struct{ Result []series } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s %v", query, response.Status, err)
	}
	return answer.Data.Result
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

func (p panel) data(prometheus string, substitute *strings.Replacer) (all []series) {
	for _, t := range p.Targets {
		for _, s := range ask(prometheus, substitute.Replace(t.Expr)) {
			s.name = legendLabel.ReplaceAllStringFunc(t.LegendFormat, func(label string) string { return s.Metric[label[2:len(label)-2]] })
			if p.Type == "table" {
				s.name = strings.TrimSpace(t.RefID + " " + s.Metric["reason"] + " " + s.Metric["instance"])
			}
			all = append(all, s)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return p.Type != "heatmap" && p.Type != "table" && all[i].last() > all[j].last() })
	return all
}

func format(value float64, unit string) string {
	scaled := func(base float64, names ...string) string {
		i := 0
		for ; math.Abs(value) >= base && i < len(names)-1; i++ {
			value /= base
		}
		return strconv.FormatFloat(value, 'g', 3, 64) + names[i]
	}
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return fmt.Sprint(value)
	case unit == "bytes":
		return scaled(1024, " B", " KiB", " MiB", " GiB", " TiB")
	case unit == "Bps":
		return scaled(1000, " B/s", " kB/s", " MB/s")
	case unit == "s" && math.Abs(value) < 1:
		value *= 1e9
		return scaled(1000, " ns", " µs", " ms")
	case unit == "s":
		return strconv.FormatFloat(value, 'g', 3, 64) + " s"
	case unit == "ops" || unit == "reqps":
		return scaled(1000, "/s", " k/s", " M/s")
	case unit == "cpm":
		return scaled(1000, "/min", " k/min")
	}
	return scaled(1000, "", " k", " M")
}

func text(x, y, size int, color, words string) {
	fmt.Printf("<text x='%d' y='%d' font-size='%d' fill='%s'>%s</text>\n", x, y, size, color, html.EscapeString(words))
}

func (p panel) draw(all []series) {
	x, y, w, h := p.GridPos.X*column, p.GridPos.Y*line, p.GridPos.W*column-6, p.GridPos.H*line-6
	unit := p.FieldConfig.Defaults.Unit
	if p.Type == "row" {
		text(x+4, y+20, 15, "#fff", p.Title)
		return
	}
	fmt.Printf("<rect x='%d' y='%d' width='%d' height='%d' fill='#181b1f' stroke='#333'/>\n", x, y, w, h)
	text(x+8, y+16, 12, "#ccc", p.Title)
	if len(all) == 0 {
		text(x+w/2-30, y+h/2, 14, "#e24d42", "no data")
		return
	}
	switch p.Type {
	case "stat":
		text(x+20, y+h/2+24, 32, colors[0], format(all[0].last(), unit))
	case "table":
		for i, s := range all {
			if 30+i*16 < h {
				text(x+12, y+36+i*16, 12, "#ccc", fmt.Sprintf("%-36s %s", s.name, format(s.last(), unit)))
			}
		}
	case "heatmap":
		drawHeatmap(all, x+60, y+24, w-70, h-34)
	default:
		drawLines(all, unit, p.FieldConfig.Defaults.Custom.ScaleDistribution.Type == "log", x+60, y+24, w-70, h-24-14*(shownSeries+1))
		for i, s := range all {
			if i == shownSeries {
				break
			}
			text(x+12, y+h-14*(shownSeries-i)+6, 11, colors[i%len(colors)], format(s.last(), unit)+"  "+s.name)
		}
		if more := len(all) - shownSeries; more > 0 {
			text(x+w-60, y+h-8, 11, "#888", fmt.Sprintf("%d more", more))
		}
	}
}

func drawLines(all []series, unit string, logarithmic bool, x, y, w, h int) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range all {
		for i := range s.Values {
			if v := s.value(i); !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || !logarithmic) {
				low, high = math.Min(low, v), math.Max(high, v)
			}
		}
	}
	scale := func(v float64) float64 { return v }
	if logarithmic {
		scale = math.Log
	} else {
		low = math.Min(low, 0)
	}
	if !(high > low) {
		high = low + 1
	}
	text(x-54, y+8, 10, "#888", format(high, unit))
	text(x-54, y+h, 10, "#888", format(low, unit))
	fmt.Printf("<path d='M%d %dV%dH%d' fill='none' stroke='#444'/>\n", x, y, y+h, x+w)
	for n, s := range all {
		var points []string
		for i := range s.Values {
			v := s.value(i)
			if math.IsNaN(v) || math.IsInf(v, 0) || (v <= 0 && logarithmic) {
				continue
			}
			at := (s.Values[i][0].(float64) - begin) / (end - begin)
			height := (scale(v) - scale(low)) / (scale(high) - scale(low))
			points = append(points, fmt.Sprintf("%.0f,%.0f", float64(x)+at*float64(w), float64(y+h)-height*float64(h)))
		}
		fmt.Printf("<polyline points='%s' fill='none' stroke='%s'/>\n", strings.Join(points, " "), colors[n%len(colors)])
	}
}

// Series are of a cumulative histogram; a band is what is in one bucket and not in the next lower one.
func drawHeatmap(all []series, x, y, w, h int) {
	bound := func(s series) float64 {
		v, _ := strconv.ParseFloat(s.Metric["le"], 64)
		return v
	}
	sort.Slice(all, func(i, j int) bool { return bound(all[i]) < bound(all[j]) })
	band := float64(h) / float64(len(all))
	for n, s := range all {
		bottom := float64(y+h) - float64(n)*band
		if n%4 == 0 {
			text(x-54, int(bottom), 10, "#888", format(bound(s), "s"))
		}
		for i := range s.Values {
			inBand, top := s.value(i), all[len(all)-1].value(i)
			if n > 0 {
				inBand -= all[n-1].value(i)
			}
			if inBand > 0 && top > 0 {
				at := float64(x) + (s.Values[i][0].(float64)-begin)/(end-begin)*float64(w)
				fmt.Printf("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='#ff8833' fill-opacity='%.2f'/>\n",
					at, bottom-band, float64(w)/steps, band-1, 0.1+0.9*math.Sqrt(inBand/top))
			}
		}
	}
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: grafana_picture DASHBOARD.JSON PROMETHEUS INSTANCE SECONDS")
	}
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []panel
	}
	if err := json.Unmarshal(content, &board); err != nil {
		log.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[4], 64)
	if err != nil {
		log.Fatal(err)
	}
	end = float64(time.Now().Unix())
	begin = end - seconds
	substitute := strings.NewReplacer(`$job`, `.*`, `$instance`, os.Args[3], `$__rate_interval`, `1m`)
	height := 0
	for _, p := range board.Panels {
		if bottom := (p.GridPos.Y + p.GridPos.H) * line; bottom > height {
			height = bottom
		}
	}
	fmt.Printf("<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif'>\n", 24*column, height)
	fmt.Printf("<rect width='100%%' height='100%%' fill='#111217'/>\n")
	for _, p := range board.Panels {
		p.draw(p.data(os.Args[2], substitute))
	}
	fmt.Println("</svg>")
}
