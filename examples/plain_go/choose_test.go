package main

import (
	"encoding/json"
	"os"
	"testing"
)

func TestEverySessionGetsTheVariantOfTheContractsVectors(t *testing.T) {
	text, err := os.ReadFile("../../topics/weights.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Buckets []struct {
			ID     string `json:"invocation_id"`
			Bucket int    `json:"bucket"`
		} `json:"buckets"`
		Choices []struct {
			Weights   map[string]int `json:"weights"`
			Active    string         `json:"active"`
			ID        string         `json:"invocation_id"`
			VariantID string         `json:"variant_id"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Choices) == 0 || len(vectors.Buckets) == 0 {
		t.Fatal(err, len(vectors.Choices))
	}
	for _, one := range vectors.Buckets {
		if found := BucketOf(one.ID); found != one.Bucket {
			t.Errorf("%s is in bucket %d, not %d", one.ID, found, one.Bucket)
		}
	}
	for _, one := range vectors.Choices {
		if found := VariantOf(one.Weights, one.Active, one.ID); found != one.VariantID {
			t.Errorf("%s gets %s, not %s", one.ID, found, one.VariantID)
		}
	}
}
