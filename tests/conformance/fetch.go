// Gets a URL and writes the body to standard output; with -i, the status code and the headers before it.
// A stand-in for curl, which a fresh machine may not have.
//
//	fetch [-i] URL
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	withHead := flag.Bool("i", false, "write status code and headers first, and take any status")
	flag.Parse()
	response, err := http.Get(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *withHead {
		fmt.Println(response.StatusCode)
		response.Header.Write(os.Stdout)
		fmt.Println()
	} else if response.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, response.Status)
		os.Exit(1)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
