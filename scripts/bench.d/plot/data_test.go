package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const asJSON = `{"figures": [
 {"cell": "randread-4k-x16", "target": "plain", "ops_per_s": 200000, "bytes_per_s": 819200000, "rounds_ops_per_s": [100000, 300000]},
 {"cell": "randread-4k-x16", "target": "uring", "ops_per_s": 20000, "bytes_per_s": 81920000, "rounds_ops_per_s": [10000, 30000]},
 {"cell": "read-1m-x1", "target": "uring", "ops_per_s": 2000, "bytes_per_s": 2097152000, "rounds_ops_per_s": [2000, 2000]},
 {"cell": "stat", "target": "uring", "ops_per_s": 5000, "rounds_ops_per_s": [5000, 5000]}]}`

const asCSV = `round,cell,target,ops_per_s,bytes_per_s,daemon_cpu_us_per_op,daemon_threads,daemon_rss_bytes
1,randread-4k-x16,plain,100000.00,409600000.00,0.00,0,0
1,randread-4k-x16,uring,10000.00,40960000.00,1.00,1,1
1,read-1m-x1,uring,2000.00,2097152000.00,1.00,1,1
1,stat,uring,5000.00,0.00,1.00,1,1
2,randread-4k-x16,plain,300000.00,1228800000.00,0.00,0,0
2,randread-4k-x16,uring,30000.00,122880000.00,1.00,1,1
2,read-1m-x1,uring,2000.00,2097152000.00,1.00,1,1
2,stat,uring,5000.00,0.00,1.00,1,1
`

// Both forms of a run give the same picture: well-formed, and the same again
// when it is made again.
func TestBothFormsGiveOnePicture(t *testing.T) {
	dir := t.TempDir()
	var pictures [][]byte
	for name, data := range map[string]string{"run.json": asJSON, "run.csv": asCSV} {
		in, out := filepath.Join(dir, name), filepath.Join(dir, name+".svg")
		if err := os.WriteFile(in, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := read(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.draw(out); err != nil {
			t.Fatal(err)
		}
		picture, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := xml.NewDecoder(bytes.NewReader(picture)); err == nil; {
			_, err = decoder.Token()
		}
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		for _, text := range []string{"4 KiB random read, 16 jobs, thousand/s (without FUSE: 200)", ">20.0<", "1 MiB sequential read, GB/s", ">2.10<", "stat, thousand/s", "uringfs, io_uring"} {
			if !bytes.Contains(picture, []byte(text)) {
				t.Errorf("%s: no %q in the picture", name, text)
			}
		}
		pictures = append(pictures, picture)
	}
	if !bytes.Equal(pictures[0], pictures[1]) {
		t.Error("the two forms give different pictures")
	}
}

func TestWhatIsNoRunIsRefused(t *testing.T) {
	for name, data := range map[string]string{
		"empty.json": `{}`, "bad.json": `{"figures": [`, "empty.csv": "", "other.csv": "a,b\n1,2\n",
		"bad.csv": "round,cell,target,ops_per_s,bytes_per_s\n1,stat,uring,x,0\n",
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(path); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
