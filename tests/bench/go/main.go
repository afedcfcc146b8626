// The worker process of the bench for Go's clientv3/concurrency. It reads orders as lines of JSON, like worker.ts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

type order struct {
	ID int    `json:"id"`
	Do string `json:"do"`

	Hosts      []string `json:"hosts"`
	Clients    int      `json:"clients"`
	Sessions   int      `json:"sessions"`
	TTLSeconds int      `json:"ttlSeconds"`
	WarmUps    int      `json:"warmUps"`

	Client int    `json:"client"`
	Name   string `json:"name"`

	Names        []string `json:"names"`
	Operation    string   `json:"operation"`
	StartAt      float64  `json:"startAt"`
	Ms           float64  `json:"ms"`
	AtMost       int64    `json:"atMost"`
	HoldMs       float64  `json:"holdMs"`
	RecordsHolds bool     `json:"recordsHolds"`
	IsShared     bool     `json:"isShared"`
	Rotation     int      `json:"rotation"`

	Count  int `json:"count"`
	AtOnce int `json:"atOnce"`
}

type answer map[string]any

func main() {
	w := &worker{}
	var printing sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// In parallel, because an order to stop arrives while a loop runs.
		go func() {
			a, err := w.carryOut(o)
			if a == nil {
				a = answer{}
			}
			a["id"] = o.ID
			if err != nil {
				a["error"] = err.Error()
			}
			text, _ := json.Marshal(a)
			printing.Lock()
			defer printing.Unlock()
			fmt.Println(string(text))
		}()
	}
}

func (w *worker) carryOut(o order) (answer, error) {
	switch o.Do {
	case "open":
		return nil, w.open(o)
	case "loop":
		return w.loop(o)
	case "hold":
		return w.hold(o)
	case "release":
		return w.release()
	case "memory":
		return w.memory(o)
	case "stop":
		w.stop()
		return nil, nil
	case "close":
		return nil, w.close()
	}
	return nil, fmt.Errorf("Cannot carry out %s: the Go worker does not know this order", o.Do)
}

// inParallel calls f for 0 to n-1, at most atOnce at a time, and returns the first error.
func inParallel(n, atOnce int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, atOnce) {
		all.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}
