// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// answering answers matching requests itself and passes on the others.
func answering(match func(*http.Request) bool, status int, contentType, body string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// rewriting changes the answers to requests that match.
func rewriting(match func(*http.Request) bool, change func(status int, header http.Header, body string) (int, string)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			status, body := change(rec.Code, rec.Header(), rec.Body.String())
			for name, values := range rec.Header() {
				if name != "Content-Length" {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

func posts(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == backendapi.EventsPath
}

func gets(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == backendapi.EventsPath
}

func whenStatus(from, to int) func(int, http.Header, string) (int, string) {
	return func(status int, _ http.Header, body string) (int, string) {
		if status == from {
			status = to
		}
		return status, body
	}
}

func replacing(old, other string) func(int, http.Header, string) (int, string) {
	return func(status int, _ http.Header, body string) (int, string) {
		return status, strings.ReplaceAll(body, old, other)
	}
}

// editing changes requests that match before the backend sees them.
func editing(match func(*http.Request) bool, change func(*http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				change(r)
			}
			next.ServeHTTP(w, r)
		})
	}
}

func withoutQuery(names ...string) func(*http.Request) {
	return func(r *http.Request) {
		q := r.URL.Query()
		for _, name := range names {
			q.Del(name)
		}
		r.URL.RawQuery = q.Encode()
	}
}

// byBatchID answers every batch with a known id as a repeat, whatever its content.
func byBatchID() func(http.Handler) http.Handler {
	var seen sync.Map
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if key := r.Header.Get(backendapi.HeaderIdempotencyKey); posts(r) && key != "" {
				if _, again := seen.LoadOrStore(key, true); again {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusAccepted)
					_, _ = io.WriteString(w, `{"accepted":1,"duplicates":0}`)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// answeringBad answers an invalid batch as if it were accepted.
func answeringBad(body string) func(http.Handler) http.Handler {
	return rewriting(posts, func(status int, header http.Header, was string) (int, string) {
		if status == 422 {
			header.Set("Content-Type", "application/json")
			return 202, body
		}
		return status, was
	})
}

// repeatsAs answers a repeated batch with a status.
func repeatsAs(status int) func(http.Handler) http.Handler {
	var seen sync.Map
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if key := r.Header.Get(backendapi.HeaderIdempotencyKey); posts(r) && key != "" {
				if _, again := seen.LoadOrStore(key, true); again {
					w.WriteHeader(status)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

func reversed(status int, _ http.Header, body string) (int, string) {
	var page map[string]json.RawMessage
	var events []json.RawMessage
	if json.Unmarshal([]byte(body), &page) != nil || json.Unmarshal(page["events"], &events) != nil {
		return status, body
	}
	slices.Reverse(events)
	turned, err := json.Marshal(events)
	if err != nil {
		return status, body
	}
	page["events"] = turned
	out, err := json.Marshal(page)
	if err != nil {
		return status, body
	}
	return status, string(out)
}

func redirecting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if posts(r) {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func cutting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if posts(r) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"accepted"`)
			return
		}
		next.ServeHTTP(w, r)
	})
}
