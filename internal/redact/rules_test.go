// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unmasked returns a text without the marks around its secrets, and with them masked.
func unmasked(marked string) (text, want string) {
	text = strings.NewReplacer("«", "", "»", "").Replace(marked)
	want = regexp.MustCompile("«[^»]*»").ReplaceAllStringFunc(marked, func(secret string) string {
		return hide(strings.Trim(secret, "«»"))
	})
	return text, want
}

func TestRuleMasksItsSecretAndNothingElse(t *testing.T) {
	r, err := New(nil)
	require.NoError(t, err)
	for _, rule := range ruleTable {
		t.Run(strings.Fields(rule.programs)[0]+" "+rule.pattern, func(t *testing.T) {
			if !strings.HasSuffix(rule.pattern, "PLAIN") {
				text, want := unmasked(rule.secret)
				require.NotEqual(t, want, text, "the rule needs an example with a secret")
				assert.Equal(t, want, r.String(text))
			}
			require.NotEmpty(t, rule.plain, "the rule needs an example without a secret")
			assert.Equal(t, rule.plain, r.String(rule.plain))
		})
	}
}

// A rule that another one makes needless, or whose example another one masks, is a fault of the table.
func TestRuleIsNeededForItsExample(t *testing.T) {
	for i, line := range ruleTable {
		programs, families := exactPrograms, familyPrograms
		t.Cleanup(func() { exactPrograms, familyPrograms = programs, families })
		others := append(append([]rule(nil), ruleTable[:i]...), ruleTable[i+1:]...)
		exactPrograms, familyPrograms = compileRules(others, wrappers)
		r, err := New(nil)
		require.NoError(t, err)
		if line.secret == "" {
			continue
		}
		text, want := unmasked(line.secret)
		assert.NotEqual(t, want, r.String(text), "%s: %s", line.programs, line.pattern)
		exactPrograms, familyPrograms = programs, families
	}
}

func TestPhraseMasksItsSecretAndNothingElse(t *testing.T) {
	r, err := New(nil)
	require.NoError(t, err)
	for _, phrase := range phraseTable {
		t.Run(phrase.expression, func(t *testing.T) {
			text, want := unmasked(phrase.secret)
			assert.Equal(t, want, maskPhrases(text))
			assert.NotContains(t, r.String(text), "hunter2")
			assert.Equal(t, phrase.plain, r.String(phrase.plain))
		})
	}
}

// fake replaces ~20~ by 20 made-up letters and digits, ~u20~ by capitals, ~h20~ by hexadecimal digits.
func fake(example string) string {
	return regexp.MustCompile("~([uh]?)([0-9]+)~").ReplaceAllStringFunc(example, func(match string) string {
		alphabet := "FaKe0fAkE1"
		switch match[1] {
		case 'u':
			alphabet = "FAKE0FAKE1"
		case 'h':
			alphabet = "fa0cade1fade"
		}
		n, _ := strconv.Atoi(strings.Trim(match, "~uh"))
		return strings.Repeat(alphabet, n/len(alphabet)+1)[:n]
	})
}

func TestKeyMasksItsFormAndNothingElse(t *testing.T) {
	r, err := New(nil)
	require.NoError(t, err)
	for i, key := range keyTable {
		t.Run(key.expression, func(t *testing.T) {
			text, want := unmasked(fake(key.secret))
			assert.Equal(t, want, r.String(text))
			assert.True(t, keyShapes[i].possible(text), "has")
			assert.Regexp(t, keyShapes[i].expression, text)
			assert.Equal(t, key.plain, r.String(key.plain))
		})
	}
}
