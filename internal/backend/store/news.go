// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

// maxNews bounds what is remembered of stored facts for those who follow them. Who is further behind is told that he is.
const maxNews = 256

// factNews remembers about whom facts were stored last, in memory: it tells pages what to look at again, no more.
type factNews struct {
	stored int64 // requests with facts since the store was opened
	last   [maxNews]struct{ tenant, subject string }
}

// FactsStored is the number of requests with facts that were stored since the store was opened: where to begin with FactsSince.
func (s *Store) FactsStored() int64 {
	s.change.Lock()
	defer s.change.Unlock()
	return s.news.stored
}

// FactsSince gives the subjects, each once, about which facts of a tenant (empty: of any) were stored after the first at
// requests, and how many requests there are now. all: there were too many to be remembered; any subject may be among them.
func (s *Store) FactsSince(at int64, tenant string) (subjects []string, all bool, now int64) {
	s.change.Lock()
	defer s.change.Unlock()
	now = s.news.stored
	if now-at > maxNews {
		return nil, true, now
	}
	seen := map[string]struct{}{}
	for ; at < now; at++ {
		one := s.news.last[at%maxNews]
		if _, told := seen[one.subject]; told || (tenant != "" && tenant != one.tenant) {
			continue
		}
		seen[one.subject] = struct{}{}
		subjects = append(subjects, one.subject)
	}
	return subjects, false, now
}

// announceFacts tells those who wait for a change, after facts were stored.
func (s *Store) announceFacts(tenant, subject string) {
	s.change.Lock()
	s.news.last[s.news.stored%maxNews] = struct{ tenant, subject string }{tenant, subject}
	s.news.stored++
	s.change.Unlock()
	s.announce()
}
