// Judges our text against Go's own libraries:
//
//	encoder_text columns FILE    text/tabwriter lines a debug=1 text up with exactly these tabs
//	encoder_text quotes FILE     strconv.Quote gives the same for each pair of hex words
//	encoder_text printable FILE  strconv.IsPrint says yes to these code points (hex) and no others,
//	                             except those that Go's older Unicode does not know yet
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

func fail(format string, args ...interface{}) {
	fmt.Printf("FAILED: "+format+"\n", args...)
	os.Exit(1)
}

func columns(text string) {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 1, 8, 1, '\t', 0)
	fmt.Fprint(w, regexp.MustCompile(`\t+`).ReplaceAllString(text, "\t"))
	w.Flush()
	ours, theirs := strings.Split(text, "\n"), strings.Split(out.String(), "\n")
	for i := range theirs {
		if i >= len(ours) || ours[i] != theirs[i] {
			fail("line %d: tabwriter gives %q, we %q", i+1, theirs[i], ours[i])
		}
	}
	fmt.Printf("%d lines lined up\n", len(ours))
}

func quotes(lines []string) {
	for _, line := range lines {
		words := strings.SplitN(line, " ", 2)
		text, err1 := hex.DecodeString(words[0])
		ours, err2 := hex.DecodeString(words[1])
		if err1 != nil || err2 != nil {
			fail("not hex: %s", line)
		}
		theirs := strconv.Quote(string(text))
		if theirs == string(ours) {
			continue
		}
		// A difference in the version of Unicode is none in the rule.
		if unquoted, err := strconv.Unquote(string(ours)); err != nil || unquoted != string(text) {
			fail("strconv quotes %x as %s, we as %s", text, theirs, ours)
		}
		for _, r := range string(ours) {
			if r >= 0x80 && !strconv.IsPrint(r) && unicode.In(r, unicode.C, unicode.Z) {
				fail("%x: %U is printed raw", text, r)
			}
		}
	}
	fmt.Printf("%d texts quoted\n", len(lines))
}

func printable(lines []string) {
	ours := map[rune]bool{}
	for _, line := range lines {
		r, err := strconv.ParseUint(line, 16, 32)
		if err != nil {
			fail("not hex: %s", line)
		}
		ours[rune(r)] = true
	}
	newer := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		theirs := strconv.IsPrint(r)
		if ours[r] == theirs {
			continue
		}
		assigned := unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.C, unicode.Z)
		if theirs || assigned {
			fail("%U: strconv.IsPrint %v, we %v", r, theirs, ours[r])
		}
		newer++
	}
	fmt.Printf("%d printable, %d of them newer than Go's Unicode %s\n", len(ours), newer, unicode.Version)
}

func main() {
	data, err := os.ReadFile(os.Args[2])
	if err != nil {
		fail("%v", err)
	}
	lines := []string{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	switch os.Args[1] {
	case "columns":
		columns(string(data))
	case "quotes":
		quotes(lines)
	case "printable":
		printable(lines)
	}
}
