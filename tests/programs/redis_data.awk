# redis_data.awk - commands for redis-cli --pipe that fill every data type, the same every time: awk -v keys=N
BEGIN {
    for (i = 0; i < keys; i++) {
        text = sprintf("%0" (1 + i * 37 % 900) "d", i)
        print "SET string:" i " " text
        print "RPUSH list:" i % 500 " " i " " substr(text, 1, i % 100 + 1)
        print "HSET hash:" i % 300 " field:" i " " substr(text, 1, i % 64 + 1)
        print "SADD set:" i % 200 " " i " m" i % 77
        print "ZADD sorted:" i % 100 " " i * 7919 % 1009 " member:" i
        if (i % 3 == 0)
            print "APPEND string:" int(i / 2) " " text
        if (i % 7 == 0)
            print "DEL string:" int(i / 3) " list:" i % 499
    }
}
