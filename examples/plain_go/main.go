// An agent in Go without Kafka and without packages: it reads the file of `crl sync --format json`, and prints the
// variant of each session as one JSON line. With -outcomes, it also does the work and appends the outcomes to a file.
//
//	go run . [-outcomes OUTCOMES.jsonl] VARIANTS.json AGENT/TASK SESSION...
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

// Task is one task of the file; it has more fields.
type Task struct {
	VariantID string         `json:"variant_id"`
	Epoch     int            `json:"epoch"`
	Weights   map[string]int `json:"weights"`
	Variants  map[string]struct {
		Configuration json.RawMessage `json:"configuration"`
		Ref           string          `json:"ref"`
	} `json:"variants"`
}

// Document is the file.
type Document struct {
	Format  string          `json:"format"`
	Version int             `json:"version"`
	Tasks   map[string]Task `json:"tasks"`
}

// Choice is what a runtime needs for one invocation.
type Choice struct {
	SessionID     string          `json:"session_id"`
	VariantID     string          `json:"variant_id"`
	Epoch         int             `json:"active_epoch"`
	Source        string          `json:"variant_source"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
}

// Choose returns what a session of the task uses.
func Choose(task Task, sessionID string) Choice {
	variantID := VariantOf(task.Weights, task.VariantID, sessionID)
	if _, known := task.Variants[variantID]; !known {
		variantID = task.VariantID
	}
	source := "file"
	if variantID != task.VariantID {
		source = "explore"
	}
	return Choice{sessionID, variantID, task.Epoch, source, task.Variants[variantID].Configuration}
}

func run(arguments []string, outcomes string) error {
	if len(arguments) < 3 {
		return fmt.Errorf("usage: plain_go [-outcomes OUTCOMES.jsonl] VARIANTS.json AGENT/TASK SESSION...")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	var document Document
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	if document.Format != "crl-sync" || document.Version != 1 {
		return fmt.Errorf("%s is not a file of crl sync, version 1", arguments[0])
	}
	task, known := document.Tasks[arguments[1]]
	if !known {
		return fmt.Errorf("%s has no task %s", arguments[0], arguments[1])
	}
	for _, sessionID := range arguments[2:] {
		choice := Choose(task, sessionID)
		if outcomes != "" {
			if err := Work(outcomes, arguments[1], choice); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(choice); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	outcomes := flag.String("outcomes", "", "a file for the outcomes")
	flag.Parse()
	if err := run(flag.Args(), *outcomes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
