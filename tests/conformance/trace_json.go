// Checks files in Chrome's trace event format: strict JSON; events in order of time; on every track slices that end in the order in
// which they nest; arrows with both ends, the second inside of a slice and not before the first; tasks that begin and end once.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type event struct {
	Phase string          `json:"ph"`
	Time  json.Number     `json:"ts"`
	Group int             `json:"pid"`
	Track uint64          `json:"tid"`
	Name  string          `json:"name"`
	ID    uint64          `json:"id"`
	Args  json.RawMessage `json:"args"`
}

type track struct {
	group  int
	number uint64
}

func check(path string) (map[string]int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var trace struct {
		Unit   string  `json:"displayTimeUnit"`
		Events []event `json:"traceEvents"`
	}
	decoder := json.NewDecoder(file)
	if err := decoder.Decode(&trace); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, fmt.Errorf("more than one value")
	}
	count := map[string]int{}
	open := map[track]int{}
	arrows := map[uint64]bool{}
	tasks := map[uint64]bool{}
	last := -1.0
	for i, e := range trace.Events {
		count[e.Phase]++
		time, err := e.Time.Float64()
		if err != nil || time < last {
			return nil, fmt.Errorf("event %d: time %v after %v", i, e.Time, last)
		}
		last = time
		on := track{e.Group, e.Track}
		fault := ""
		switch e.Phase {
		case "B":
			open[on]++
		case "E":
			open[on]--
			if open[on] < 0 {
				fault = "ends nothing"
			}
		case "s":
			if open[on] == 0 || arrows[e.ID] {
				fault = "arrow from nowhere, or the second of its number"
			}
			arrows[e.ID] = true
		case "f":
			if open[on] == 0 || !arrows[e.ID] {
				fault = "arrow to nowhere, or without a beginning"
			}
			delete(arrows, e.ID)
		case "b", "e":
			if tasks[e.ID] == (e.Phase == "b") {
				fault = "task that began twice, or did not"
			}
			tasks[e.ID] = e.Phase == "b"
		case "i", "C", "M":
		default:
			fault = "unknown phase"
		}
		if fault != "" {
			return nil, fmt.Errorf("event %d, %+v: %s", i, e, fault)
		}
	}
	for on, depth := range open {
		if depth != 0 {
			return nil, fmt.Errorf("%d slices of %v do not end", depth, on)
		}
	}
	if count["B"] == 0 || count["C"] == 0 {
		return nil, fmt.Errorf("no slices, or no counters: %v", count)
	}
	return count, nil
}

func main() {
	for _, path := range os.Args[1:] {
		count, err := check(path)
		if err != nil {
			fmt.Printf("%s: %v\n", path, err)
			os.Exit(1)
		}
		fmt.Println(path[len(path)-min(len(path), 24):], count)
	}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
