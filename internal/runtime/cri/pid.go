// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxVerbose limits how much of a verbose response is parsed, in bytes. In containerd and CRI-O the pid is near its start,
// before the container's complete configuration.
const maxVerbose = 1 << 20

// errVerboseStatus is the error for every verbose response that cannot be parsed. The decoder's own error is not passed on,
// because it may quote the container's environment.
var errVerboseStatus = errors.New("the verbose status is not the expected JSON object")

// PID returns the process id of a container's main process. The rest of the verbose status is dropped, and no error quotes it.
func (r *Runtime) PID(ctx context.Context, id string) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	response, err := r.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true}, largest(r.bounds.verbose))
	if err != nil {
		return 0, r.explain(err, "get the process id of container "+id)
	}
	info, ok := response.GetInfo()["info"]
	if !ok || response.GetStatus().GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return 0, nil
	}
	pid, err := pidIn(info)
	if err != nil {
		return 0, r.explain(err, "get the process id of container "+id)
	}
	return pid, nil
}

// pidIn returns the member "pid" of a JSON object, or 0 if there is none or it is not a process id. It reads the object token
// by token, so that no other part of it is built.
func pidIn(info string) (uint32, error) {
	d := json.NewDecoder(io.LimitReader(strings.NewReader(info), maxVerbose))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return 0, errVerboseStatus
	}
	depth, key := 1, true // key: the next token at depth 1 is a member's name
	wanted := false
	for depth > 0 {
		t, err := d.Token()
		if err != nil {
			return 0, errVerboseStatus
		}
		if delim, ok := t.(json.Delim); ok {
			if wanted {
				return 0, errVerboseStatus
			}
			switch delim {
			case '{', '[':
				depth++
			default:
				depth--
			}
			key = depth == 1
			continue
		}
		if depth > 1 {
			continue
		}
		if key {
			wanted = t == "pid"
			key = false
			continue
		}
		if wanted {
			return processID(t), nil
		}
		key = true
	}
	return 0, nil
}

func processID(t json.Token) uint32 {
	number, ok := t.(json.Number)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(string(number), 10, 32)
	if err != nil || n > math.MaxInt32 {
		return 0
	}
	return uint32(n)
}
