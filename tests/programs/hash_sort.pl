# hash_sort.pl - big hashes, nested arrays, sorts and regular expressions; prints digests of the results.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);

my $words = shift // 300_000;
my $state = 7;
sub rnd { $state = ($state * 1103515245 + 12345) % 2147483648; return int($state / 65536) % $_[0]; }

my (%count, %groups);
for my $i (1 .. $words) {
    my $word = join '', map { chr(97 + rnd(26)) } 1 .. 1 + rnd(5);
    $count{$word}++;
    push @{ $groups{ length $word }{ substr $word, 0, 1 } }, "$word $i";
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print scalar(@sorted), ' ', sha256_hex(join ',', @sorted), "\n";
for my $len (sort keys %groups) {
    my $text = join "\n", map { join ' ', sort @{ $groups{$len}{$_} } } sort keys %{ $groups{$len} };
    (my $changed = $text) =~ s/([aeiou])(\w)/$2$1/g;
    print "$len ", length($text), ' ', sha256_hex($changed), "\n";
    delete $groups{$len};
}
delete @count{ grep { /[xyz]/ } keys %count };
print scalar(keys %count), "\n";
