package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

func describeMachine() string {
	return fmt.Sprintf("%s, %d CPUs, %s; Linux %s; %s; %s", cpuModel(), runtime.NumCPU(), memory(), kernel(), runtime.Version(),
		time.Now().UTC().Format("2006-01-02 15:04 UTC"))
}

// describeLoad tells how far the figures can be trusted.
func describeLoad() string {
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load average at the end: " + strings.Join(strings.Fields(string(average))[:3], " ") +
		" (one to two of it is this comparison)"
}

func cpuModel() string { return field("/proc/cpuinfo", "model name") }

func memory() string {
	var kib float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kib); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%.0f GiB", kib/(1<<20))
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}

// field is the value of the first "key : value" line of a file in /proc.
func field(path, key string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(content), "\n") {
		if colon := strings.IndexByte(line, ':'); colon >= 0 && strings.TrimSpace(line[:colon]) == key {
			return strings.TrimSpace(line[colon+1:])
		}
	}
	return "unknown"
}

// residentKiB is what a process occupies, page tables included; peakKiB the most it did since resetPeak.
func residentKiB(pid int) (float64, error) { return sumKiB(pid, "VmRSS", "VmPTE") }
func peakKiB(pid int) (float64, error)     { return sumKiB(pid, "VmHWM", "VmPTE") }

func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func sumKiB(pid int, keys ...string) (float64, error) {
	sum := 0.0
	for _, key := range keys {
		var value float64
		text := field(fmt.Sprintf("/proc/%d/status", pid), key)
		if _, err := fmt.Sscanf(text, "%f kB", &value); err != nil {
			return 0, fmt.Errorf("%s of process %d: %q", key, pid, text)
		}
		sum += value
	}
	return sum, nil
}
