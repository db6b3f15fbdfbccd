// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

// query is SQL text with its arguments. Values from outside are always arguments, never part of the text.
type query struct {
	text string
	args []any
}

func (q *query) add(text string, args ...any) {
	q.text += text
	q.args = append(q.args, args...)
}

func (q *query) and(condition string, args ...any) { q.add(" AND "+condition, args...) }

func (q *query) andIf(wanted bool, condition string, args ...any) {
	if wanted {
		q.and(condition, args...)
	}
}
