package mspfn.derain

import android.graphics.Bitmap
import kotlin.math.PI
import kotlin.math.max
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.roundToInt
import kotlin.math.sin

/** Pixels that neighbouring tiles share at least. */
private const val OVERLAP = Derainer.SIDE / 4

/** Where a tile starts, and what its pixels count there; at every pixel the weights sum to one. */
private class Span(val start: Int, val weights: FloatArray)

/** Derains a picture of any size in tiles, as `mspfn_tf.Restorer` does colour pictures. */
class TiledDerainer(private val derainer: Derainer) {

    /**
     * @param picture in the format ARGB_8888
     * @param onTile called with (tiles done, tiles in all) after each
     * @return a new bitmap of the same size, and how long a tile took in the mean
     */
    fun derain(picture: Bitmap, onTile: (Int, Int) -> Unit): Pair<Bitmap, Timing> {
        val side = Derainer.SIDE
        val pixels = IntArray(picture.width * picture.height)
        picture.getPixels(pixels, 0, picture.width, 0, 0, picture.width, picture.height)
        val height = max(roundUp(picture.height), side)
        val width = max(roundUp(picture.width), side)
        val rows = spans(height, side)
        val columns = spans(width, side)
        val total = rows.size * columns.size
        val whole = if (total > 1) statisticsOf(pixels, picture, height, width) else null

        // One row of tiles at a time: a whole photograph in floats would not fit.
        val band = FloatArray(side * width * 3)
        val times = mutableListOf<Timing>()
        for ((index, row) in rows.withIndex()) {
            for (column in columns) {
                val tile = window(pixels, picture, row.start, column.start)
                val derained =
                    if (whole == null) derainer.derain(tile) else derainer.derainGuided(tile, whole)
                times += derainer.timing
                add(derained, band, width, row, column)
                onTile(times.size, total)
            }
            val below = if (index + 1 < rows.size) rows[index + 1].start else height
            finish(band, width, pixels, picture, row.start, min(below, picture.height))
            val finished = (below - row.start) * width * 3
            band.copyInto(band, 0, finished)
            band.fill(0f, band.size - finished)
        }
        val result = Bitmap.createBitmap(pixels, picture.width, picture.height, picture.config!!)
        return result to Timing(times.map { it.total }.average(), times.map { it.readback }.average())
    }

    /** The mean over parts that touch, each by the area that it alone covers. */
    private fun statisticsOf(pixels: IntArray, picture: Bitmap, height: Int, width: Int): FloatArray {
        var sums: DoubleArray? = null
        for ((top, tall) in touching(height)) {
            for ((left, wide) in touching(width)) {
                val found = derainer.measure(window(pixels, picture, top, left))
                val total = sums ?: DoubleArray(found.size).also { sums = it }
                for (i in found.indices) total[i] += found[i].toDouble() * tall * wide
            }
        }
        val area = height.toDouble() * width
        return FloatArray(sums!!.size) { (sums!![it] / area).toFloat() }
    }
}

private fun roundUp(length: Int) = (length + 7) / 8 * 8

private fun spans(length: Int, tile: Int): List<Span> {
    if (length == tile) return listOf(Span(0, FloatArray(tile) { 1f }))
    val starts = (0 until length - tile step tile - OVERLAP).toList() + (length - tile)
    // What lies in the outer quarter of the overlap counts for nothing.
    val ramp = DoubleArray(OVERLAP) {
        sin(0.5 * PI * (2 * (it + 0.5) / OVERLAP - 0.5).coerceIn(0.0, 1.0)).pow(2)
    }
    val weights = starts.indices.map { index ->
        DoubleArray(tile) { pixel ->
            val rising = if (index > 0 && pixel < OVERLAP) ramp[pixel] else 1.0
            val fromEnd = tile - 1 - pixel
            val falling = if (index < starts.lastIndex && fromEnd < OVERLAP) ramp[fromEnd] else 1.0
            rising * falling
        }
    }
    val total = DoubleArray(length)
    for ((start, weight) in starts.zip(weights)) {
        weight.forEachIndexed { pixel, value -> total[start + pixel] += value }
    }
    return starts.zip(weights) { start, weight ->
        Span(start, FloatArray(tile) { (weight[it] / total[start + it]).toFloat() })
    }
}

/** (first pixel, pixels that no earlier part covers). */
private fun touching(length: Int): List<Pair<Int, Int>> {
    var covered = 0
    return buildList {
        while (covered < length) {
            val start = min(covered, length - Derainer.SIDE)
            add(start to start + Derainer.SIDE - covered)
            covered = start + Derainer.SIDE
        }
    }
}

/** The place of a pixel on an axis that goes on by reflection. */
private fun reflected(place: Int, length: Int): Int {
    val period = max(2 * (length - 1), 1)
    val within = place % period
    return min(within, period - within)
}

private fun window(pixels: IntArray, picture: Bitmap, top: Int, left: Int): FloatArray {
    val side = Derainer.SIDE
    val values = FloatArray(side * side * 3)
    val columns = IntArray(side) { reflected(left + it, picture.width) }
    var place = 0
    for (y in 0 until side) {
        val line = reflected(top + y, picture.height) * picture.width
        for (column in columns) {
            val colour = pixels[line + column]
            values[place++] = (colour shr 16 and 0xff) / 255f
            values[place++] = (colour shr 8 and 0xff) / 255f
            values[place++] = (colour and 0xff) / 255f
        }
    }
    return values
}

private fun add(tile: FloatArray, band: FloatArray, width: Int, row: Span, column: Span) {
    var from = 0
    for ((y, down) in row.weights.withIndex()) {
        var to = (y * width + column.start) * 3
        for (across in column.weights) {
            val weight = down * across
            repeat(3) { band[to++] += weight * tile[from++] }
        }
    }
}

private fun finish(
    band: FloatArray, width: Int, pixels: IntArray, picture: Bitmap, top: Int, bottom: Int,
) {
    for (y in top until bottom) {
        var from = (y - top) * width * 3
        for (x in 0 until picture.width) {
            val place = y * picture.width + x
            var colour = pixels[place] and (0xff shl 24)
            for (shift in intArrayOf(16, 8, 0)) {
                val level = (band[from++].coerceIn(0f, 1f) * 255f).roundToInt()
                colour = colour or (level shl shift)
            }
            pixels[place] = colour
        }
    }
}
