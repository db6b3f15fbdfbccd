// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestModulePURL(t *testing.T) {
	for want, m := range map[string]GoModule{
		"pkg:golang/github.com/burntsushi/toml@v1.4.0":            {Path: "github.com/BurntSushi/toml", Version: "v1.4.0"},
		"pkg:golang/github.com/x/y/v2@v2.0.0%2Bincompatible":      {Path: "github.com/x/y/v2", Version: "v2.0.0+incompatible"},
		"pkg:golang/example.com/app":                              {Path: "example.com/app", Main: true},
		"pkg:golang/stdlib@1.26.8":                                {Path: "stdlib", Version: "1.26.8"},
		"pkg:golang/gopkg.in/a%20b%40c@v0.0.0-2024010101-abcdef0": {Path: "gopkg.in/a b@c", Version: "v0.0.0-2024010101-abcdef0"},
		"": {Version: "v1"},
	} {
		assert.Equal(t, want, m.PURL())
	}
}
