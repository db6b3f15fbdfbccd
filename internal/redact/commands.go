// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
)

// word is the position of a word of a command line in a text, without its quotes.
type word struct{ from, to int }

// maxNesting limits how deep a quoted command in a quoted command is masked: ssh host "su -c 'mysql -px'". Each level takes time in
// proportion to its text.
const maxNesting = 4

// recentCommands limits how many commands before a pipe may write what the command after it reads.
const recentCommands = 8

// line masks secrets that only the order of words shows, in each command of a shell line or of a process title:
// sh -c "curl -u me:hunter2 db && docker login -p hunter2".
type line struct {
	text    string
	nesting int
	masked  map[word]string // what replaces a word
	order   []word          // the words, by position
	recent  []command       // in the pipeline before this command
	depth   int             // of parentheses
	prompt  bool            // the command before this one expects the prompt for a password
	input   *value          // the here document that follows has secrets
	end     string          // the word that ends the here document
}

// command is a simple command: its words, and the strings of them.
type command struct {
	words []word
	args  []string
}

// maskCommands masks the commands in a text.
func maskCommands(s string, nesting int) string {
	l := line{text: s, nesting: nesting, masked: map[word]string{}}
	l.scan()
	if len(l.masked) == 0 {
		return s
	}
	var b strings.Builder
	at := 0
	for _, w := range l.order {
		if masked, ok := l.masked[w]; ok {
			b.WriteString(s[at:w.from])
			b.WriteString(masked)
			at = w.to
		}
	}
	b.WriteString(s[at:])
	return b.String()
}

// scan splits the text into commands and masks each.
func (l *line) scan() {
	s := l.text
	var words []word
	for from := 0; from < len(s); {
		switch {
		case strings.IndexByte(" \t\r", s[from]) >= 0:
			from++
		case strings.HasPrefix(s[from:], "\\\n"): // a continued line
			from += 2
		case strings.IndexByte(";|&\n()", s[from]) >= 0:
			l.command(words)
			words = nil
			l.separator(s[from])
			from++
			if s[from-1] == '\n' && l.end != "" {
				from = l.hereDocument(from)
			}
		default:
			end := wordEnd(s, from)
			w := unquoted(s, from, end)
			words = append(words, w)
			l.order = append(l.order, w)
			from = end
		}
	}
	l.command(words)
}

// separator keeps the commands of a pipeline together.
func (l *line) separator(c byte) {
	switch c {
	case '(':
		l.depth++
	case ')':
		l.depth = max(0, l.depth-1)
	case ';', '&', '\n':
		if l.depth == 0 {
			l.recent = nil
		}
	}
}

// command masks the words of one simple command, and what was written into its standard input.
func (l *line) command(words []word) {
	if len(words) == 0 {
		return
	}
	c := command{words: words, args: make([]string, len(words))}
	for i, w := range words {
		c.args[i] = l.text[w.from:w.to]
	}
	l.maskPrompt(c)
	if v, ok := readsSecret(c.args); ok {
		l.maskInput(c, v)
	}
	if c.args[0] == "{" {
		l.depth++
	} else if c.args[0] == "}" {
		l.depth = max(0, l.depth-1)
	}
	masked := append([]string(nil), c.args...)
	if len(words) > 1 {
		maskList(masked)
	}
	for i, w := range words {
		if _, done := l.masked[w]; done {
			continue
		}
		if masked[i] == c.args[i] && l.nesting < maxNesting && strings.ContainsAny(masked[i], " \t\n") {
			masked[i] = maskCommands(masked[i], l.nesting+1)
		}
		if masked[i] != c.args[i] {
			l.masked[w] = masked[i]
		}
	}
	if l.recent = append(l.recent, c); len(l.recent) > recentCommands {
		l.recent = l.recent[1:]
	}
}

// maskInput masks what a command reads that reads a secret: from echo and printf in the pipeline before it, or from <<< "…", or from the
// here document after it.
func (l *line) maskInput(c command, v value) {
	for _, writer := range l.recent {
		l.maskWriter(writer, v)
		l.maskHere(writer, v)
	}
	l.maskHere(c, v)
}

// maskHere masks <<< "…" and here documents.
func (l *line) maskHere(c command, v value) {
	for i, arg := range c.args {
		rest, ok := strings.CutPrefix(arg, "<<")
		if !ok {
			continue
		}
		here, ok := strings.CutPrefix(rest, "<")
		switch {
		case ok && here != "":
			w := unquoted(l.text, c.words[i].from+3, c.words[i].to)
			masked := hideInput(l.text[w.from:w.to], v)
			l.masked[c.words[i]] = l.text[c.words[i].from:w.from] + masked + l.text[w.to:c.words[i].to]
		case ok && i+1 < len(c.args):
			l.masked[c.words[i+1]] = hideInput(c.args[i+1], v)
		case !ok:
			if end := strings.TrimPrefix(rest, "-"); end != "" {
				rest = end
			} else if i+1 < len(c.args) {
				rest = c.args[i+1]
			}
			l.end, l.input = strings.Trim(rest, `"'\`), &v
		}
	}
}

// maskWriter masks what echo and printf write.
func (l *line) maskWriter(writer command, v value) {
	at := -1
	for i, arg := range writer.args[:min(len(writer.args), pathWindow)] {
		if name := base(arg); name == "echo" || name == "printf" || name == "yes" {
			at = i
			break
		}
	}
	if at < 0 {
		return
	}
	format := writer.args[at] == "printf" && len(writer.args) > at+2
	for i := at + 1; i < len(writer.args); i++ {
		arg := writer.args[i]
		switch {
		case arg == "-n", arg == "-e", arg == "-ne", arg == "-en", arg == "-E", arg == "--":
		case format && strings.Contains(arg, "%"):
			format = false
		default:
			l.masked[writer.words[i]] = hideInput(arg, v)
		}
	}
}

// hideInput masks what a command reads.
func hideInput(text string, v value) string {
	if v == colonValue {
		if user, _, ok := strings.Cut(text, ":"); ok && strings.Contains(user, "%") {
			return text
		}
		if strings.Contains(text, ":") {
			return hidePair(text, ":")
		}
	}
	if plainValue(text) {
		return text
	}
	return hide(text)
}

// hereDocument masks the lines of a here document and returns the position after it.
func (l *line) hereDocument(from int) int {
	for from < len(l.text) {
		end := from + lengthUntil(l.text[from:], "\n")
		text := strings.TrimSpace(l.text[from:end])
		if text == l.end {
			break
		}
		if text != "" {
			w := word{from, end}
			l.order = append(l.order, w)
			l.masked[w] = hideInput(l.text[from:end], *l.input)
		}
		from = min(end+1, len(l.text))
	}
	l.end, l.input = "", nil
	return from
}

// maskPrompt masks what an expect script sends after the prompt for a password.
func (l *line) maskPrompt(c command) {
	switch c.args[0] {
	case "expect", "-expect":
		text := strings.ToLower(strings.Join(c.args[1:min(len(c.args), recentCommands)], " "))
		l.prompt = strings.Contains(text, "assw") || strings.Contains(text, "assphrase") || strings.Contains(text, "passcode") ||
			strings.Contains(text, "token") || strings.Contains(text, "secret")
	case "send", "exp_send":
		if l.prompt {
			for i, w := range c.words[1:] {
				if !strings.HasPrefix(c.args[i+1], "-") {
					l.masked[w] = hide(c.args[i+1])
				}
			}
		}
		l.prompt = false
	}
}

// wordEnd returns the end of the word that begins at from. An unpaired quote is an ordinary character.
func wordEnd(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\r', '\n', ';', '|', '&', '(', ')':
			return max(i, from+1)
		case '\\':
			slashes := skip(s, i, `\`) - i
			if i += slashes; i == len(s) {
				return i
			}
			switch end := quoteEnd(s, i, slashes); {
			case end > 0:
				i = end - 1
			case s[i] == '\n':
				return max(i-1, from+1)
			case slashes%2 == 0:
				i--
			}
		case '"', '\'':
			if end := quoteEnd(s, i, 0); end > 0 {
				i = end - 1
			}
		}
	}
	return len(s)
}

// maxSlashes limits the backslashes before a quote of a quoted text in a quoted text. It keeps the time linear: quotes of each number of
// backslashes are searched to the end of the text only once in vain.
const maxSlashes = 7

// quoteEnd returns the end of the quoted text whose quote, with so many backslashes before it, is at the position; 0 if it does not end.
func quoteEnd(s string, at, slashes int) int {
	if s[at] != '"' && s[at] != '\'' || slashes > maxSlashes {
		return 0
	}
	if slashes == 0 && s[at] == '\'' {
		if end := strings.IndexByte(s[at+1:], '\''); end >= 0 {
			return at + 1 + end + 1
		}
		return 0
	}
	start := at - slashes
	length := quotedLength(s[start:], s[start:at+1])
	if closed := s[start+length-1] == s[at] && length > slashes+1; !closed {
		return 0
	}
	return start + length
}

// unquoted returns a word without the quotes that enclose it.
func unquoted(s string, from, to int) word {
	slashes := min(skip(s, from, `\`), to) - from
	if from+slashes == to {
		return word{from, to}
	}
	quote := s[from : from+slashes+1]
	if q := s[from+slashes]; q != '"' && q != '\'' || to-from < 2*len(quote) || !strings.HasSuffix(s[from:to], quote) {
		return word{from, to}
	}
	if quoteEnd(s, from+slashes, slashes) != to {
		return word{from, to}
	}
	return word{from + len(quote), to - len(quote)}
}
