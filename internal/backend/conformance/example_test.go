// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/conformance"
)

// A server that answers 200 in place of 202 fails.
func ExampleRun() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"accepted":2,"duplicates":0}`)
	}))
	defer srv.Close()
	target, err := url.Parse(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := conformance.Run(context.Background(), conformance.Options{
		Client: &http.Client{Timeout: time.Minute}, Target: target, Only: []string{"accepts", "no-token"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range report.Results {
		fmt.Println(r.Verdict, r.Level, r.Check, "-", r.Detail)
	}
	fmt.Println("conforms:", report.Conforms())
	// Output:
	// fail MUST accepts - want 202, but it answered 200 {"accepted":2,"duplicates":0}
	// skipped MUST no-token - no token was given
	// conforms: false
}
