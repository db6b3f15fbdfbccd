// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestStatusTextIsParsed(t *testing.T) {
	const second, minute, hour, day = time.Second, time.Minute, time.Hour, 24 * time.Hour
	cases := map[string]statusText{
		"":                         {},
		"Created":                  {},
		"Up Less than a second":    {aged: true, max: second},
		"Up 1 second":              {aged: true, min: second, max: 2 * second},
		"Up 59 seconds":            {aged: true, min: 59 * second, max: 60 * second},
		"Up About a minute":        {aged: true, min: minute, max: 2 * minute},
		"Up 5 minutes (healthy)":   {aged: true, min: 5 * minute, max: 6 * minute, health: "healthy"},
		"Up 5 minutes (unhealthy)": {aged: true, min: 5 * minute, max: 6 * minute, health: "unhealthy"},
		"Up 2 seconds (health: starting)": {
			aged: true, min: 2 * second, max: 3 * second, health: "starting",
		},
		"Up About an hour":           {aged: true, max: 2 * hour},
		"Up 3 hours (Paused)":        {aged: true, min: 2 * hour, max: 4 * hour},
		"Up 3 days":                  {aged: true, min: 2 * day, max: 4 * day},
		"Exited (137) 5 seconds ago": {aged: true, min: 5 * second, max: 6 * second, exitCode: "137"},
		"Exited (-1073741510) 2 weeks ago": {
			aged: true, min: 7 * day, max: 21 * day, exitCode: "-1073741510",
		},
		"Restarting (1) Less than a second ago": {aged: true, max: second, exitCode: "1"},
		"Up 291 years":                          {aged: true, min: 199 * 366 * day, max: 201 * 366 * day},
		"Up 2147483647 seconds":                 {aged: true, min: 2147483647 * second, max: 2147483648 * second},
		"Removal In Progress":                   {},
		"Dead":                                  {},
		"Up (((":                                {},
		"seconds":                               {},
	}
	for text, want := range cases {
		assert.Equal(t, want, parseStatus(text), text)
	}
}

// TestRestartIsCountedFromAge follows one container through a list every two seconds.
func TestRestartIsCountedFromAge(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	human := func(age time.Duration) string {
		switch s := int(age.Seconds()); {
		case s < 1:
			return "Up Less than a second"
		case s == 1:
			return "Up 1 second"
		case s < 60:
			return "Up " + age.Truncate(time.Second).String()[:len(age.Truncate(time.Second).String())-1] + " seconds"
		case s < 120:
			return "Up About a minute"
		default:
			return "Up 2 minutes"
		}
	}
	k := &remembered{}
	began := start
	restarts := 0
	for i := range 60 {
		now := start.Add(time.Duration(i)*2*time.Second + 300*time.Millisecond)
		if i == 20 || i == 40 {
			began = now.Add(-700 * time.Millisecond) // it was restarted since the last list
		}
		k.noteListed("running", parseStatus(human(now.Sub(began))), now, now.Add(5*time.Millisecond))
		if i == 20 || i == 40 {
			restarts++
		}
		assert.EqualValues(t, restarts, k.restarts, "list %d", i)
	}
}

func TestCreatedContainersAreRecheckedAtGrowingIntervals(t *testing.T) {
	rechecks, last := 0, int64(-1)
	for age := time.Duration(0); age < 10*time.Minute; age += time.Second {
		if p := recheckNumber(age); p != last {
			rechecks, last = rechecks+1, p
		}
	}
	assert.LessOrEqual(t, rechecks, 18)
	assert.GreaterOrEqual(t, rechecks, 14)
	assert.Equal(t, recheckNumber(-time.Hour), recheckNumber(0), "the clock went back")
}

func FuzzStatus(f *testing.F) {
	f.Add("Exited (137) About a minute ago")
	f.Add("291 year")
	f.Add("2147483647 weeks")
	f.Add("Up 99999999999999999999 years (health: starting)")
	f.Fuzz(func(t *testing.T, s string) {
		oracle.Bound(t, oracle.Parsing(len(s)))
		got := parseStatus(s)
		if got.min < 0 || got.max < got.min {
			t.Fatalf("%q: %v", s, got)
		}
	})
}
