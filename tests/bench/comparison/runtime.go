package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// runRuntime runs the microbenchmarks; a figure is the time of one item.
func runRuntime(s side, o options, t *table) error {
	command := exec.Command(o.runtimeBench, "--benchmark_format=json",
		fmt.Sprintf("--benchmark_min_time=%g", o.minTime.Seconds()), "--benchmark_filter="+microFilter(o))
	if s == theirs {
		command = exec.Command(o.twin, "runtime", "--min_time="+o.minTime.String(), "--filter="+microFilter(o))
	}
	if o.small {
		command.Args = append(command.Args, "--small")
	}
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		fmt.Fprint(os.Stderr, complaints.String())
		return err
	}
	return addResults(s, output, t)
}

// microFilter matches the rows that were asked for, with whatever Google Benchmark appends to their names.
func microFilter(o options) string {
	var names []string
	for _, r := range microRows {
		if o.wanted.MatchString(r.name) {
			names = append(names, r.name)
		}
	}
	if len(names) == len(microRows) {
		return "." // so that a benchmark without a row is noticed
	}
	return "^(" + strings.Join(names, "|") + ")(/process_time|/real_time|/iterations:1)*$"
}

func addResults(s side, output []byte, t *table) error {
	var results struct {
		Benchmarks []struct {
			Name           string  `json:"name"`
			ItemsPerSecond float64 `json:"items_per_second"`
			ErrorOccurred  bool    `json:"error_occurred"`
			ErrorMessage   string  `json:"error_message"`
		} `json:"benchmarks"`
	}
	if err := json.Unmarshal(output, &results); err != nil {
		return err
	}
	for _, r := range results.Benchmarks {
		if r.ErrorOccurred || r.ItemsPerSecond <= 0 {
			return fmt.Errorf("%s: no items per second; %s", r.Name, r.ErrorMessage)
		}
		name := r.Name
		for _, suffix := range []string{"/process_time", "/real_time", "/iterations:1"} {
			name = strings.Replace(name, suffix, "", 1)
		}
		seconds := 1 / r.ItemsPerSecond
		if unitOf(name) == "ns" {
			seconds *= 1e9
		}
		t.add(s, name, seconds)
	}
	return nil
}

func unitOf(name string) string {
	for _, r := range microRows {
		if r.name == name {
			return r.unit
		}
	}
	return ""
}
