package main

import (
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
	"text/tabwriter"
)

// nameWidth fits the longest name; the padding turns tabwriter's right alignment into a left one.
const nameWidth = 48

// table collects figures by row and side.
type table struct {
	o       options
	figures map[string]*[2][]float64
}

func newTable(o options) *table { return &table{o, map[string]*[2][]float64{}} }

func (t *table) add(s side, name string, figure float64) {
	if t.figures[name] == nil {
		t.figures[name] = &[2][]float64{}
	}
	t.figures[name][s] = append(t.figures[name][s], figure)
}

// print fails when a row that was asked for lacks a figure, or a figure has no row: a benchmark without its twin.
func (t *table) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%-*s\tfiberscope\tGo\tratio\ttarget\t\tspread\t\n", nameWidth, "name")
	known := map[string]bool{}
	for _, r := range allRows() {
		known[r.name] = true
		if !t.o.wanted.MatchString(r.name) {
			continue
		}
		f := t.figures[r.name]
		if f == nil || len(f[ours]) == 0 || (len(f[theirs]) == 0) != r.alone {
			w.Flush()
			return fmt.Errorf("%s was not measured on the sides that it should be", r.name)
		}
		if r.alone {
			fmt.Fprintf(w, "%-*s\t%s\t\t\t\t\t\t\n", nameWidth, r.name, show(median(f[ours]), r.unit))
			continue
		}
		our, their := median(f[ours]), median(f[theirs])
		target, verdict := t.judge(r, our, their)
		ratio := ""
		if !r.noRatio && our > 0 {
			ratio = fmt.Sprintf("%.2fx", their/our)
		}
		fmt.Fprintf(w, "%-*s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", nameWidth, r.name,
			show(our, r.unit), show(their, r.unit), ratio, target, verdict, spread(f))
	}
	w.Flush()
	fmt.Fprintln(out, "ratio: Go / fiberscope. spread: (largest - smallest) / median over the rounds, fiberscope and Go.")
	for name := range t.figures {
		if !known[name] {
			return fmt.Errorf("%s has no row in targets.go", name)
		}
	}
	return nil
}

func (t *table) judge(r row, our, their float64) (target, verdict string) {
	if t.o.small {
		return "", ""
	}
	var wants []string
	met := true
	if r.most > 0 && (!r.million || t.o.fibers == 1000000) {
		wants = append(wants, "<= "+show(r.most, r.unit))
		met = met && our <= r.most
	}
	if r.faster > 0 {
		wants = append(wants, fmt.Sprintf(">= %gx", r.faster))
		met = met && their/our >= r.faster
	}
	switch {
	case len(wants) == 0:
		return "", ""
	case met:
		return strings.Join(wants, ", "), "met"
	}
	return strings.Join(wants, ", "), "MISSED"
}

func median(figures []float64) float64 {
	sorted := append([]float64(nil), figures...)
	sort.Float64s(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func spread(figures *[2][]float64) string {
	var parts []string
	for _, f := range figures {
		least, most := math.Inf(1), math.Inf(-1)
		for _, figure := range f {
			least, most = math.Min(least, figure), math.Max(most, figure)
		}
		if len(f) < 2 || median(f) == 0 {
			return ""
		}
		parts = append(parts, fmt.Sprintf("%.0f%%", 100*(most-least)/median(f)))
	}
	return strings.Join(parts, " ")
}

// show writes three significant digits, whole numbers in full.
func show(figure float64, unit string) string {
	digits := 0
	if unit != "B" && unit != "" && figure != 0 {
		digits = int(math.Max(0, 2-math.Floor(math.Log10(math.Abs(figure)))))
	}
	if digits > 3 {
		digits = 3
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, figure, unit))
}
