package main

import "strings"

// What each row is and what it should come to. Rows without a target are there to be seen.

type row struct {
	name    string
	unit    string
	most    float64 // ours is to be at most this; 0: no target
	faster  float64 // Go's figure is to be at least this many times ours; 0: no target
	million bool    // `most` holds for a million fibers
	alone   bool    // a floor that only our side measures
	noRatio bool    // more is not worse, or the sides cannot be compared
}

var microRows = []row{
	{name: "BM_Yield/processors:1/fibers:2", unit: "ns", most: 20, faster: 2.5},
	{name: "BM_Yield/processors:1/fibers:1000", unit: "ns"},
	{name: "BM_Spawn_FinishJoin/processors:1", unit: "ns", most: 100, faster: 2},
	{name: "BM_Spawn_Batch1000/processors:1", unit: "ns", most: 80, faster: 2},
	{name: "BM_Spawn_Batch1000_WaitGroup/processors:1", unit: "ns"},
	{name: "BM_Channel_Unbuffered_Hop/processors:1", unit: "ns", most: 45, faster: 2.5},
	{name: "BM_Channel_Unbuffered_Hop/processors:2", unit: "ns"},
	{name: "BM_Channel_Buffered/processors:1", unit: "ns"},
	{name: "BM_Channel_Buffered/processors:2", unit: "ns"},
	{name: "BM_Select_HopOf2/processors:1", unit: "ns"},
	{name: "BM_Select_HopOf2/processors:2", unit: "ns"},
	{name: "BM_Select_HopOf8/processors:1", unit: "ns"},
	{name: "BM_Select_HopOf8/processors:2", unit: "ns"},
	{name: "BM_Channel_FanOutFanIn/processors:1", unit: "ns"},
	{name: "BM_Channel_FanOutFanIn/processors:2", unit: "ns"},
	{name: "BM_Channel_ForeignWake/processors:1", unit: "ns"},
	{name: "BM_Echo_64_Fibers/processors:1", unit: "ns", faster: 1.2},
	{name: "BM_Echo_64_Epoll", unit: "ns", alone: true},
	{name: "BM_Mutex_Uncontended/processors:1", unit: "ns", most: 5},
	{name: "BM_Mutex_Contended/processors:2", unit: "ns"},
	{name: "BM_Skynet/processors:1", unit: "s", most: 0.30},
	{name: "BM_Skynet/processors:2", unit: "s", most: 0.20},
	{name: "BM_SkynetByJoin/processors:1", unit: "s", most: 0.30},
	{name: "BM_SkynetByJoin/processors:2", unit: "s", most: 0.20},
	{name: "BM_SleepWake_100k/processors:1", unit: "ns", most: 900},
	{name: "BM_SleepWake_100k/processors:2", unit: "ns"},
}

var parkedRows = []row{
	{name: "Parked/depth:2/bytes", unit: "B"},
	{name: "Parked/depth:2/spawn", unit: "ns"},
	{name: "Parked/depth:10/bytes", unit: "B", most: 4500},
	{name: "Parked/depth:10/spawn", unit: "ns"},
}

var dumpRows = []row{
	{name: "Dump/idle/ticker_p50", unit: "us"},
	{name: "Dump/idle/ticker_p99", unit: "us"},
	{name: "Dump/idle/ticker_worst", unit: "us"},
	{name: "Dump/debug:0/first", unit: "ms"},
	{name: "Dump/debug:0/time", unit: "ms", most: 350, faster: 7, million: true},
	{name: "Dump/debug:0/bytes", unit: "B", noRatio: true},
	{name: "Dump/debug:0/ticker_p50", unit: "us"},
	{name: "Dump/debug:0/ticker_p99", unit: "us"},
	{name: "Dump/debug:0/ticker_worst", unit: "us"},
	{name: "Dump/debug:0/growth", unit: "MiB"},
	{name: "Dump/debug:1/first", unit: "ms"},
	{name: "Dump/debug:1/time", unit: "ms", most: 350, faster: 7, million: true},
	{name: "Dump/debug:1/bytes", unit: "B", noRatio: true},
	{name: "Dump/debug:1/ticker_p50", unit: "us"},
	{name: "Dump/debug:1/ticker_p99", unit: "us"},
	{name: "Dump/debug:1/ticker_worst", unit: "us"},
	{name: "Dump/debug:1/growth", unit: "MiB"},
	{name: "Dump/debug:2/first", unit: "ms"},
	{name: "Dump/debug:2/time", unit: "ms", most: 5000, million: true},
	{name: "Dump/debug:2/bytes", unit: "B", noRatio: true},
	{name: "Dump/debug:2/fibers_shown", unit: "", noRatio: true},
	{name: "Dump/debug:2/ticker_p50", unit: "us"},
	{name: "Dump/debug:2/ticker_p99", unit: "us"},
	{name: "Dump/debug:2/ticker_worst", unit: "us"},
	{name: "Dump/debug:2/growth", unit: "MiB", most: 64},
}

var slowReaderRows = []row{
	{name: "SlowReader/growth", unit: "MiB", most: 64},
	{name: "SlowReader/bytes_read", unit: "B", noRatio: true},
	{name: "SlowReader/ticker_p50", unit: "us"},
	{name: "SlowReader/ticker_p99", unit: "us"},
	{name: "SlowReader/ticker_worst", unit: "us"},
}

// shapeRows are those of Dump for each other shape.
func shapeRows() []row {
	var rows []row
	for _, f := range others {
		for _, r := range dumpRows {
			r.name = strings.Replace(r.name, "Dump/", f.rows(), 1)
			rows = append(rows, r)
		}
	}
	return rows
}

func allRows() []row {
	var rows []row
	rows = append(rows, microRows...)
	rows = append(rows, parkedRows...)
	rows = append(rows, dumpRows...)
	rows = append(rows, shapeRows()...)
	return append(rows, slowReaderRows...)
}
