// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// listed has the fields of a container that the checks compare.
type listed struct {
	ContainerID string  `json:"containerId"`
	Engine      string  `json:"engine"`
	Node        string  `json:"node"`
	Namespace   string  `json:"namespace"`
	State       string  `json:"state"`
	ExitCode    *uint32 `json:"exitCode"`
	Reason      string  `json:"reason"`
}

type containerPage struct {
	Containers []listed `json:"containers"`
	NextCursor string   `json:"nextCursor"`
}

func (c *listed) check(l life, state string) error {
	if c.ContainerID != l.uri() || c.Engine != "containerd" || c.Node != "conformance-"+l.s.run || c.Namespace != l.s.namespace() || c.State != state {
		return fmt.Errorf("want %s on node conformance-%s in state %s, but it returned %+v", l.uri(), l.s.run, state, *c)
	}
	if c.ExitCode == nil || *c.ExitCode != 137 || c.Reason != "OOMKilled" {
		return fmt.Errorf("%s ended with 137, OOMKilled, but it returned %+v", l.uri(), *c)
	}
	return nil
}

func containers(ctx context.Context, s *session) (string, error) {
	if _, _, err := get[containerPage](ctx, s, containersPath, url.Values{"limit": {"1"}}); err != nil {
		return "", err
	}
	l := s.life()
	if err := s.store(ctx, l.stop(), l.start()); err != nil {
		return "", err
	}
	if err := s.findContainer(ctx, l, "exited"); err != nil {
		return "", err
	}
	if err := s.store(ctx, l.ofKind(backendapi.KindRemove)); err != nil {
		return "", err
	}
	return "", s.findContainer(ctx, l, "removed")
}

// findContainer pages through the run's containers.
func (s *session) findContainer(ctx context.Context, l life, state string) error {
	query := url.Values{"namespace": {s.namespace()}, "limit": {"50"}}
	for range 100 {
		p, _, err := get[containerPage](ctx, s, containersPath, query)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(p.Containers, func(c listed) bool { return c.ContainerID == l.uri() }); i >= 0 {
			return p.Containers[i].check(l, state)
		}
		if p.NextCursor == "" {
			return fmt.Errorf("%s is not listed in its namespace", l.uri())
		}
		query.Set("cursor", p.NextCursor)
	}
	return errors.New("the pages do not end")
}

func container(ctx context.Context, s *session) (string, error) {
	if _, _, err := get[containerPage](ctx, s, containersPath, url.Values{"limit": {"1"}}); err != nil {
		return "", err
	}
	l := s.life()
	if err := s.store(ctx, l.start(), l.stop(), l.ofKind(backendapi.KindRemove)); err != nil {
		return "", err
	}
	for _, id := range []string{url.PathEscape(l.uri()), l.id} {
		c, _, err := get[listed](ctx, s, containersPath+"/"+id, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", id, err)
		}
		if err := c.check(l, "removed"); err != nil {
			return "", err
		}
	}
	a, err := s.do(ctx, http.MethodGet, containersPath+"/"+randomHex(32), nil, nil)
	return want(a, err, http.StatusNotFound)
}

func images(ctx context.Context, s *session) (string, error) {
	p, _, err := get[struct {
		Images *[]struct {
			Containers *int `json:"containers"`
		} `json:"images"`
	}](ctx, s, imagesPath, url.Values{"limit": {"3"}})
	if err == nil && p.Images == nil {
		err = errors.New(`the answer has no "images"`)
	}
	return "", err
}
