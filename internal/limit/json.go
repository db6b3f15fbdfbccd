// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package limit

// JSON bounds one JSON text.
type JSON struct {
	Nesting int // arrays and objects inside one another
	Items   int // members and elements of everything together
	// Digits bounds the characters of each number, sign, point and exponent included. A double needs 24, an integer of 64 bits 20.
	Digits int
}

// maxExponent is the largest power of ten that a double knows (IEEE 754: 1.8e308, and 4.9e-324 for the smallest).
const maxExponent = 324

// CheckJSON scans a JSON text for what would make a decoder or validator expensive: numbers with many digits or a large exponent, which
// arbitrary-precision arithmetic turns into gigabytes; deep nesting, which is stack; and many values, which are allocations. It allocates
// nothing, and reads each byte once. Whether the text is JSON at all is left to the decoder.
func CheckJSON(text []byte, limits JSON) error {
	depth, items := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i = endOfString(text, i+1)
		case c == '{' || c == '[':
			if depth++; depth > limits.Nesting {
				return &Error{Kind: Nesting, Max: int64(limits.Nesting)}
			}
			items++
		case c == '}' || c == ']':
			depth = max(depth-1, 0)
		case c == ',':
			items++
		case c == '-' || (c >= '0' && c <= '9'):
			end := endOfNumber(text, i)
			if err := checkNumber(text[i:end], limits.Digits); err != nil {
				return err
			}
			i = end - 1
		}
		if items > limits.Items {
			return &Error{Kind: Items, Max: int64(limits.Items)}
		}
	}
	return nil
}

// endOfString returns the index of the closing quote, or of the last byte.
func endOfString(text []byte, i int) int {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text) - 1
}

func endOfNumber(text []byte, i int) int {
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return i
		}
	}
	return i
}

func checkNumber(number []byte, digits int) error {
	if len(number) > digits {
		return &Error{Kind: Digits, Max: int64(digits)}
	}
	for i, c := range number {
		if c != 'e' && c != 'E' {
			continue
		}
		exponent := 0
		for _, d := range number[i+1:] {
			if d >= '0' && d <= '9' {
				exponent = min(exponent*10+int(d-'0'), maxExponent+1)
			}
		}
		if exponent > maxExponent {
			return &Error{Kind: Exponent, Max: maxExponent}
		}
	}
	return nil
}
