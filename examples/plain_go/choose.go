package main

import "sort"

// Murmur2 is the hash of Kafka's Java client.
func Murmur2(bytes []byte) uint32 {
	const m uint32 = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(bytes))
	for ; len(bytes) >= 4; bytes = bytes[4:] {
		k := uint32(bytes[0]) | uint32(bytes[1])<<8 | uint32(bytes[2])<<16 | uint32(bytes[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(bytes) {
	case 3:
		h ^= uint32(bytes[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(bytes[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(bytes[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// BucketOf returns the bucket of a session, 0 to 999.
func BucketOf(sessionID string) int {
	return int(Murmur2([]byte(sessionID))&0x7fffffff) % 1000
}

// VariantOf returns the variant that the weights (thousandths) give to a session; the rest belongs to the active one.
func VariantOf(weights map[string]int, active, sessionID string) string {
	names := make([]string, 0, len(weights))
	for name := range weights {
		if name != active {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	bucket, end := BucketOf(sessionID), 0
	for _, name := range names {
		if end += weights[name]; bucket < end {
			return name
		}
	}
	return active
}
