// The Go twins of //tests/bench: the same programs under the same names, for ratios on the same machine.
// Plain Go 1.19, standard library only; //tests/bench:compare runs them.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) >= 2 {
		switch os.Args[1] {
		case "runtime":
			runtimeMain(os.Args[2:])
			return
		case "parked":
			parkedMain(os.Args[2:])
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: twin runtime|parked [flags]")
	os.Exit(2)
}
