module example.com/plain_go

go 1.21
