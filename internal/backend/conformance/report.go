// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people: a line for each check, then the verdict and the data that stays on the server.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RESULT\tLEVEL\tCHECK\tREQUIREMENT\tDETAIL")
	counts := map[Verdict]int{}
	for i := range r.Results {
		c := &r.Results[i]
		counts[c.Verdict]++
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Verdict, c.Level, c.Check, c.Requirement, cmp.Or(c.Detail, "-"))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	verdict := "conforms"
	if !r.Conforms() {
		verdict = "does not conform"
	}
	var parts []string
	for _, v := range []Verdict{Pass, Fail, Warn, Absent, Skipped} {
		parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
	}
	_, err := fmt.Fprintf(w, "\n%s %s: %s.\nLeft behind in tenant %s, all named conformance-%s or made of random ids: at most %d containers with %d events, and %d facts.\n",
		r.Target, verdict, strings.Join(parts, ", "), r.Tenant, r.Run, r.Left.Containers, r.Left.Events, r.Left.Facts)
	if err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(struct {
		*Report
		Conforms bool `json:"conforms"`
	}{r, r.Conforms()}); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// withoutAddress removes the address from a client's error: it may hold a password.
func withoutAddress(err error) error {
	if detail, ok := errors.AsType[*url.Error](err); ok {
		return detail.Err
	}
	return err
}
