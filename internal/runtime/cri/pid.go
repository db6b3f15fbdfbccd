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

// maxVerbose bounds how much of a verbose answer is looked at, in bytes. The pid stands near the front of it in containerd
// and CRI-O; what follows is the container's whole configuration.
const maxVerbose = 1 << 20

// errNoAnswer stands for every way in which the verbose answer cannot be read. The decoder's own error is not passed on:
// the answer holds the container's environment.
var errNoAnswer = errors.New("the verbose status is not the JSON object that was expected")

// PID asks for the main process of a container. Nothing but the number is kept of the answer, nor can an error quote it.
func (r *Runtime) PID(ctx context.Context, id string) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return 0, r.explain(err, "ask for the process of container "+id)
	}
	info, ok := answer.GetInfo()["info"]
	if !ok || answer.GetStatus().GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return 0, nil
	}
	pid, err := pidIn(info)
	if err != nil {
		return 0, r.explain(err, "ask for the process of container "+id)
	}
	return pid, nil
}

// pidIn reads the member "pid" of a JSON object, walking it token by token so that nothing else is ever built.
// 0: the object has none, or has one that is no process id.
func pidIn(info string) (uint32, error) {
	d := json.NewDecoder(io.LimitReader(strings.NewReader(info), maxVerbose))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return 0, errNoAnswer
	}
	depth, key := 1, true // key: the next token at depth 1 is a member's name
	wanted := false
	for depth > 0 {
		t, err := d.Token()
		if err != nil {
			return 0, errNoAnswer
		}
		if delim, ok := t.(json.Delim); ok {
			if wanted {
				return 0, errNoAnswer
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
