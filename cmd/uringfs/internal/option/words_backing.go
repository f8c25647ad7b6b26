package option

var backingWords = []*Option{}
