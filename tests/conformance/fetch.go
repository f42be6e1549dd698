// Gets a URL and writes the body to standard output; with -i, the status code and the headers before it. -H adds a header field to
// the request, and may repeat.
// A stand-in for curl, which a fresh machine may not have.
//
//	fetch [-i] [-H 'NAME: VALUE'] URL
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	withHead := flag.Bool("i", false, "write status code and headers first, and take any status")
	fields := http.Header{}
	flag.Func("H", "a header field", func(field string) error {
		name, value, found := strings.Cut(field, ": ")
		if !found {
			return fmt.Errorf("%q is not NAME: VALUE", field)
		}
		fields.Add(name, value)
		return nil
	})
	flag.Parse()
	request, err := http.NewRequest(http.MethodGet, flag.Arg(0), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	request.Header = fields
	response, err := http.DefaultClient.Do(request)
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
