// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

// maxNews bounds the subjects that are remembered for followers of facts. FactsSince reports when a follower is further behind.
const maxNews = 256

// factNews remembers in memory which subjects facts were stored for last, so that pages that show them are refreshed.
type factNews struct {
	stored int64 // requests with facts since the store was opened
	last   [maxNews]struct{ tenant, subject string }
}

// FactsStored returns the number of requests with facts that were stored since the store was opened: a start for FactsSince.
func (s *Store) FactsStored() int64 {
	s.change.Lock()
	defer s.change.Unlock()
	return s.news.stored
}

// FactsSince returns the subjects, each once, for which a tenant's facts were stored after the first at requests, and the number
// of requests now. An empty tenant selects all. all reports that there were too many to remember: any subject may have new facts.
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
		if _, ok := seen[one.subject]; ok || (tenant != "" && tenant != one.tenant) {
			continue
		}
		seen[one.subject] = struct{}{}
		subjects = append(subjects, one.subject)
	}
	return subjects, false, now
}

// announceFacts wakes those who wait for a change, after facts were stored.
func (s *Store) announceFacts(tenant, subject string) {
	s.change.Lock()
	s.news.last[s.news.stored%maxNews] = struct{ tenant, subject string }{tenant, subject}
	s.news.stored++
	s.change.Unlock()
	s.announce()
}
