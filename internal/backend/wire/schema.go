// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/zastava-otel/zastava/docs/api"
)

const documentURL = "https://zastava.invalid/openapi.yaml" // names the document within the compiler; never fetched

// compiler returns a compiler with the API's document. It checks formats, as the document requires.
func compiler() (*jsonschema.Compiler, error) {
	var doc any
	if err := yaml.Unmarshal(api.OpenAPI, &doc); err != nil {
		return nil, fmt.Errorf("read the embedded openapi.yaml: %w", err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("convert the embedded openapi.yaml to JSON: %w", err)
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read the embedded openapi.yaml as JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020) // what OpenAPI 3.1 schemas are based on
	c.AssertFormat()
	if err := c.AddResource(documentURL, tree); err != nil {
		return nil, fmt.Errorf("load the embedded openapi.yaml: %w", err)
	}
	return c, nil
}

// Schema compiles a schema of components/schemas of docs/api/openapi.yaml, for example Batch.
func Schema(name string) (*jsonschema.Schema, error) {
	c, err := compiler()
	if err != nil {
		return nil, err
	}
	s, err := c.Compile(documentURL + "#/components/schemas/" + name)
	if err != nil {
		return nil, fmt.Errorf("compile the schema %s of the embedded openapi.yaml: %w", name, err)
	}
	return s, nil
}

// schemas are those of a batch, and of one element of its events.
type schemas struct{ batch, envelope *jsonschema.Schema }

var batchSchemas = sync.OnceValues(func() (schemas, error) {
	batch, err := Schema("Batch")
	if err != nil {
		return schemas{}, err
	}
	envelope, err := Schema("Envelope")
	return schemas{batch, envelope}, err
})
