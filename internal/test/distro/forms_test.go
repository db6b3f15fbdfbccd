// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// issueForm is GitHub's schema for issue forms, as far as ours use it. GitHub ignores an invalid form without an error, so that its
// fault would stay unnoticed there.
type issueForm struct {
	Name        string
	Description string
	Labels      []string
	Body        []struct {
		Type       string
		ID         string
		Attributes struct {
			Label       string
			Description string
			Value       string
			Render      string
		}
		Validations struct {
			Required bool
		}
	}
}

func TestIssueFormsAreValid(t *testing.T) {
	forms, err := filepath.Glob(filepath.Join(repository, ".github", "ISSUE_TEMPLATE", "*.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, forms)
	for _, file := range forms {
		if filepath.Base(file) == "config.yml" { // settings of the page that offers the forms
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			decoder := yaml.NewDecoder(bytes.NewReader(text))
			decoder.KnownFields(true)
			var form issueForm
			require.NoError(t, decoder.Decode(&form))
			assert.NotEmpty(t, form.Name)
			assert.NotEmpty(t, form.Description)
			ids := map[string]bool{}
			for _, field := range form.Body {
				if field.Type == "markdown" {
					assert.NotEmpty(t, field.Attributes.Value)
					continue
				}
				assert.Equal(t, "textarea", field.Type)
				assert.NotEmpty(t, field.Attributes.Label, field.ID)
				assert.False(t, ids[field.ID], "id %q occurs twice", field.ID)
				ids[field.ID] = true
			}
			assert.True(t, ids["versions"], "a form asks for versions")
			assert.True(t, ids["validate"], "a form asks for the output of validate")
		})
	}
}
