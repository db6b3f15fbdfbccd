// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Engine is a Docker Engine that lies: its list has one container with an id and a process of somebody else, or has no end.
type Engine struct {
	Endless bool
	ID      string
	PID     int
}

// Serve answers the requests on a listener until that is closed.
func (e *Engine) Serve(l net.Listener) error {
	s := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	return s.Serve(l)
}

// ServeHTTP answers one request as a Docker Engine 20.10 does.
func (e *Engine) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	began := time.Now().Add(-30 * time.Second)
	switch path := q.URL.Path; {
	case strings.HasSuffix(path, "/_ping"):
	case strings.HasSuffix(path, "/version"):
		write(w, map[string]any{"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"})
	case strings.HasSuffix(path, "/events"):
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	case strings.HasSuffix(path, "/containers/json") && e.Endless:
		item := `{"Id":"` + e.ID + `","State":"running","Status":"Up 1 second","Labels":{"a":"` + strings.Repeat("x", 60_000) + `"}},`
		_, err := io.WriteString(w, "[")
		for err == nil {
			_, err = io.WriteString(w, item)
		}
	case strings.HasSuffix(path, "/containers/json"):
		write(w, []map[string]any{{
			"Id": e.ID, "Names": []string{"/forged"}, "Image": "i", "State": "running", "Status": "Up 30 seconds", "Created": began.Unix(),
		}})
	case strings.Contains(path, "/containers/"):
		write(w, map[string]any{
			"Id": e.ID, "Name": "/forged", "Created": began.Format(time.RFC3339Nano), "Config": map[string]any{"Image": "i"},
			"State": map[string]any{"Status": "running", "Running": true, "Pid": e.PID, "StartedAt": began.Format(time.RFC3339Nano)},
		})
	default:
		http.NotFound(w, q)
	}
}

func write(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) } //nolint:errchkjson // the values are this package's own; a client may be gone
