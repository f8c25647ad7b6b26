package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// baseline is the target that is only named in the headings.
const baseline = "plain"

// looks are the names and colours of known targets, in the order of the bars.
var looks = []struct {
	target, name string
	color        color.Color
}{
	{"uring", "uringfs, io_uring", color.RGBA{0x1b, 0x6e, 0xc2, 0xff}},
	{"dev", "uringfs, /dev/fuse", color.RGBA{0x8f, 0xbc, 0xe6, 0xff}},
	{"sync", "uringfs, engine=sync", color.RGBA{0xc9, 0xdd, 0xf1, 0xff}},
	{"passthrough_hp-uring", "passthrough_hp, io_uring", color.RGBA{0xd9, 0x7b, 0x1f, 0xff}},
	{"passthrough_hp", "passthrough_hp, /dev/fuse", color.RGBA{0xf0, 0xb8, 0x7a, 0xff}},
	{"loopback", "go-fuse loopback", color.RGBA{0x8a, 0x8f, 0x98, 0xff}},
	{"loopback-odirect", "go-fuse loopback, O_DIRECT", color.RGBA{0xb9, 0xbd, 0xc4, 0xff}},
}

// Lengths without a unit are points, as everywhere in gonum/plot.
const (
	columns     = 2
	panelWidth  = 4.1 * vg.Inch
	barWidth    = vg.Length(11)
	barPitch    = vg.Length(16) // of the rows of a panel
	panelMargin = vg.Length(26) // heading
)

// bars are the targets that get one, the best known first.
func (r *run) bars() []int {
	var known []int
	for i, l := range looks {
		if slices.Contains(r.targets, l.target) {
			known = append(known, i)
		}
	}
	return known
}

func (r *run) draw(path string) error {
	bars := r.bars()
	if len(bars) == 0 {
		return fmt.Errorf("no target that the picture knows among %v", r.targets)
	}
	rows := (len(r.cells) + columns - 1) / columns
	height := panelMargin + vg.Length(len(bars))*barPitch
	canvas := vgsvg.New(columns*panelWidth, vg.Length(rows)*height)
	all := draw.New(canvas)
	all.SetColor(color.White) // legible on dark pages, too
	all.Fill(all.Rectangle.Path())

	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 18, PadY: 6,
		PadTop: 6, PadBottom: 4, PadLeft: 6, PadRight: 14}
	panels := make([][]*plot.Plot, rows)
	for i := range panels {
		panels[i] = make([]*plot.Plot, columns)
	}
	for i, cell := range r.cells {
		p, err := r.panel(cell, bars)
		if err != nil {
			return fmt.Errorf("%s: %w", cell, err)
		}
		panels[i/columns][i%columns] = p
	}
	for i, row := range plot.Align(panels, tiles, all) {
		for j, c := range row {
			if panels[i][j] != nil {
				panels[i][j].Draw(c)
			}
		}
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Where the font is missing: others of the same widths.
	const family = "font-family:Liberation Sans"
	text := bytes.ReplaceAll(svg.Bytes(), []byte(family), []byte(family+",Arial,Helvetica,sans-serif"))
	return os.WriteFile(path, text, 0o644)
}

// panel draws one cell.
func (r *run) panel(cell string, bars []int) (*plot.Plot, error) {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans", Size: 9}
	p.Title.Text = title(cell) + ", " + r.unit(cell)
	if plain := r.values(cell, baseline); len(plain) > 0 {
		p.Title.Text += fmt.Sprintf(" (without FUSE: %s)", figure(median(plain)))
	}
	p.Title.TextStyle.Font = sans
	p.Title.Padding = 3
	p.HideX() // each bar has its figure
	p.X.Min = 0
	p.Y.Tick.Label.Font = sans
	p.Y.Tick.Label.Font.Size = 8
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	p.Y.Padding = 4

	names := make([]string, len(bars))
	var longest float64
	for i, b := range bars {
		at := len(bars) - 1 - i // the first on top
		l := looks[b]
		names[at] = l.name
		v := r.values(cell, l.target)
		if len(v) == 0 {
			continue
		}
		m := median(v)
		longest = max(longest, slices.Max(v))
		bar, err := plotter.NewBarChart(plotter.Values{m}, barWidth)
		if err != nil {
			return nil, err
		}
		bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, float64(at), l.color, 0
		whiskers, err := plotter.NewXErrorBars(spread{m, float64(at), slices.Min(v), slices.Max(v)})
		if err != nil {
			return nil, err
		}
		whiskers.LineStyle.Color, whiskers.CapWidth = color.Gray{0x40}, 4
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: slices.Max(v), Y: float64(at)}}, Labels: []string{figure(m)}})
		if err != nil {
			return nil, err
		}
		label.TextStyle[0].Font = sans
		label.TextStyle[0].Font.Size = 8
		label.TextStyle[0].YAlign = draw.YCenter
		label.Offset.X = 3
		p.Add(bar, whiskers, label)
	}
	p.X.Max = 1.15 * longest // room for the figures
	p.Y.Min, p.Y.Max = -0.6, float64(len(bars))-0.4
	p.NominalY(names...)
	return p, nil
}

// spread is one bar's median and whiskers for plotter.NewXErrorBars.
type spread struct{ median, at, least, most float64 }

func (s spread) Len() int                       { return 1 }
func (s spread) XY(int) (x, y float64)          { return s.median, s.at }
func (s spread) XError(int) (low, high float64) { return s.median - s.least, s.most - s.median }

// figure is v with three digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
