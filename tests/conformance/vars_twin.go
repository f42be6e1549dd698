// Prints what Go's expvar serves of the variables of vars_sample.cc, without its own two.
package main

import (
	"expvar"
	"fmt"
	"net/http/httptest"
	"strings"
)

func main() {
	expvar.NewInt("int").Add(-42)
	expvar.NewString("string").Set("a\"b\\c\n\r\t\b\f\x01\x7f<>&\u2028\u2029\xff\u00e9\U0001f600/'")
	expvar.NewString("empty string")
	expvar.NewMap("empty map")
	floats := []float64{0, 1, -1.5, 100000, 999999, 1e6, 1234567, 1e20, 1e21,
		1e22, 0.001, 1e-4, 1e-5, 1e-7, 0.1, 1e100, 5e-324, 3.141592653589793}
	for i, each := range floats {
		expvar.NewFloat(fmt.Sprint("float ", i)).Set(each)
	}
	m := expvar.NewMap("map")
	m.Add("b", 1)
	m.AddFloat("a", 2.5)
	m.Add("quote\"<", 3)
	inner := new(expvar.Map).Init()
	inner.Add("x", 1)
	m.Set("inner", inner)
	expvar.Publish("func", expvar.Func(func() any {
		return map[string]any{"floats": floats, "list": []any{"x<", nil, true, 7}, "none": []int{}}
	}))

	answer := httptest.NewRecorder()
	expvar.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/debug/vars", nil))
	for _, line := range strings.SplitAfter(answer.Body.String(), "\n") {
		if !strings.HasPrefix(line, `"cmdline": `) && !strings.HasPrefix(line, `"memstats": `) {
			fmt.Print(line)
		}
	}
}
