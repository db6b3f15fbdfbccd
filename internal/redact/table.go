// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "slices"

// ruleTable is what is known of programs. Of several rules for a flag the first whose words match holds. Flags whose name says that their
// value is secret, such as --password, need no rule.
var ruleTable = slices.Concat(databaseRules, networkRules, cloudRules, systemRules, plainRules)
