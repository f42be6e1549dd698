// Reads a page of variables from standard input as a Go program would, and prints some of memstats. Fails unless memstats has every
// field of runtime.MemStats and no other.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"runtime"
)

func main() {
	var page struct {
		Cmdline    []string        `json:"cmdline"`
		Memstats   json.RawMessage `json:"memstats"`
		Fiberscope map[string]any  `json:"fiberscope"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&page); err != nil {
		log.Fatal(err)
	}
	var stats runtime.MemStats
	decoder := json.NewDecoder(bytes.NewReader(page.Memstats))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&stats); err != nil {
		log.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(page.Memstats, &fields); err != nil {
		log.Fatal(err)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(stats)) {
		if _, found := fields[field.Name]; field.IsExported() && !found {
			log.Fatalf("memstats has no %s", field.Name)
		}
	}
	fmt.Printf("cmdline=%q\n", page.Cmdline)
	fmt.Printf("Alloc=%d TotalAlloc=%d Sys=%d Mallocs=%d\n", stats.Alloc, stats.TotalAlloc, stats.Sys, stats.Mallocs)
	fmt.Printf("HeapSys-HeapIdle-HeapInuse=%d\n", int64(stats.HeapSys-stats.HeapIdle-stats.HeapInuse))
	fmt.Printf("StackInuse=%d StackSys=%d NumGC=%d\n", stats.StackInuse, stats.StackSys, stats.NumGC)
	fmt.Printf("fibers=%v\n", page.Fiberscope["fibers"].(map[string]any)["alive"])
}
